"""Hosts that stay silent, told to the change feed once; and the proof that heartbeats are heard at all.

Silence is told from our own deafness: nothing is concluded before heartbeats have been consumed without a break for as
long as a host may be silent. While that holds, `liveness` says so, and schedulers may give up what silent hosts had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger import decisions
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Pool
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.ingest.executions import Changes
from services.api.ingest.presence import OFFLINE_SECONDS, note_host
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

LOOK_EVERY_SECONDS = 5.0


class Silence(Part):
    """Looks every few seconds, once `hears` (are heartbeats consumed?) was true for `listen_seconds`."""

    name = "silence"

    def __init__(
        self,
        pool: Pool,
        *,
        hears: Callable[[], bool],
        every_seconds: float = LOOK_EVERY_SECONDS,
        listen_seconds: float = OFFLINE_SECONDS,
    ) -> None:
        super().__init__()
        self._pool = pool
        self._hears = hears
        self._every_seconds = every_seconds
        self._listen_seconds = listen_seconds

    async def run(self) -> None:
        """Look until told to stop."""
        loop = asyncio.get_running_loop()
        heard_since = loop.time()
        looked_until: datetime | None = None
        while not self.stopping.is_set():
            if not self._hears():
                heard_since = loop.time()
            if loop.time() - heard_since < self._listen_seconds:
                looked_until = None
            else:
                try:
                    looked_until = await self._look(looked_until)
                except (*CONTENDED, *DATABASE_AWAY) as error:
                    # What could not be written was not heard either.
                    heard_since = loop.time()
                    log.warning("Looking for silent hosts was put off", error=str(error))
            try:
                await asyncio.wait_for(self.stopping.wait(), self._every_seconds)
            except TimeoutError:
                continue

    async def _look(self, looked_until: datetime | None) -> datetime:
        """Note whose last word lies between the last look's horizon and this one's; answers this one's."""
        async with self._pool.acquire() as connection, connection.transaction():
            clock = await connection.fetchrow(LEDGER.ledger_now)
            assert clock is not None
            now: datetime = clock["now"]
            await connection.execute(STATEMENTS.heard, now)
            horizon = now - timedelta(seconds=OFFLINE_SECONDS)
            if looked_until is None:
                return horizon
            changes = Changes()
            for host in await connection.fetch(STATEMENTS.hosts_silent_since, looked_until, horizon):
                log.warning("A host is offline", host=host["name"], silent_seconds=OFFLINE_SECONDS)
                note_host(changes, host)
            await decisions.note(connection, list(changes.feed))
        return max(horizon, looked_until)
