"""Hosts that stay silent, told to the change feed once; and the proof that heartbeats are heard at all.

Silence is told from our own deafness: nothing is concluded before heartbeats have been consumed without a break for as
long as a host may be silent. While that holds, `liveness` says so, and schedulers may give up what silent hosts had. By
what is written here, one function says who is online: `ledger.heard_since()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

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
        while not self.stopping.is_set():
            if not self._hears():
                heard_since = loop.time()
            if loop.time() - heard_since >= self._listen_seconds:
                try:
                    await self._look()
                except (*CONTENDED, *DATABASE_AWAY) as error:
                    # What could not be written was not heard either.
                    heard_since = loop.time()
                    log.warning("Looking for silent hosts was put off", error=str(error))
            try:
                await asyncio.wait_for(self.stopping.wait(), self._every_seconds)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Say that we hear, and note who is offline by that, and was not by what was known before."""
        async with self._pool.acquire() as connection, connection.transaction():
            clock = await connection.fetchrow(LEDGER.ledger_now)
            assert clock is not None
            before = await connection.fetchval(STATEMENTS.heard_since)
            await connection.execute(STATEMENTS.heard, clock["now"])
            after = await connection.fetchval(STATEMENTS.heard_since)
            changes = Changes()
            for host in await connection.fetch(STATEMENTS.hosts_gone_silent, before, after):
                log.warning("A host is offline", host=host["name"], silent_seconds=OFFLINE_SECONDS)
                note_host(changes, host)
            await decisions.note(connection, list(changes.feed))
