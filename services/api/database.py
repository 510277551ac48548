"""The web worker's connections: opened in the background, so that a worker starts while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger.pool import DATABASE_AWAY, Connection, Pool, create_pool
from services.api.problems import unavailable

log = get_logger(__name__)

# A request waits so long for a free connection, in seconds, before it is told to come again.
ACQUIRE_SECONDS = 5.0
CLOSE_SECONDS = 5.0


class Database(Part):
    """A pool, once there is one."""

    name = "database"

    def __init__(self, url: str, *, most: int) -> None:
        super().__init__()
        self._url = url
        self._most = most
        self._pool: Pool | None = None
        self._was_tried = asyncio.Event()

    async def run(self) -> None:
        """Open the pool, with patience; close it in the end."""
        for pause in delays():
            try:
                self._pool = await create_pool(self._url, application="rigbeat-api", most=self._most)
                break
            except DATABASE_AWAY as error:
                log.warning("Without the database", error=str(error), again_in_seconds=pause)
            finally:
                self._was_tried.set()
            try:
                await asyncio.wait_for(self.stopping.wait(), pause)
                return
            except TimeoutError:
                continue
        await self.stopping.wait()
        if self._pool is not None:
            await self._close(self._pool)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, outside of a transaction. Raises the problem `unavailable`, or one of `DATABASE_AWAY`."""
        if self._pool is None:
            await self._first_try()
        if self._pool is None:
            raise unavailable("The database is away")
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            yield connection

    async def _first_try(self) -> None:
        """A worker that just started is no worker without a database: its first requests wait for the pool."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._was_tried.wait(), ACQUIRE_SECONDS)

    async def _close(self, pool: Pool) -> None:
        try:
            await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
        except DATABASE_AWAY:
            pool.terminate()
