"""Hosts that stay silent, told to the change feed once.

Silence is told from our own deafness: hosts are looked for only while heartbeats are consumed, and a look goes back no
further than the last one that was also made while hearing.
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
    """Looks every few seconds; `hears` answers whether heartbeats are consumed."""

    name = "silence"

    def __init__(self, pool: Pool, *, hears: Callable[[], bool], every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        super().__init__()
        self._pool = pool
        self._hears = hears
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look until told to stop."""
        looked_until: datetime | None = None
        while not self.stopping.is_set():
            try:
                looked_until = await self._look(looked_until) if self._hears() else None
            except (*CONTENDED, *DATABASE_AWAY) as error:
                looked_until = None
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
            horizon: datetime = clock["now"] - timedelta(seconds=OFFLINE_SECONDS)
            if looked_until is None:
                return horizon
            changes = Changes()
            for host in await connection.fetch(STATEMENTS.hosts_silent_since, looked_until, horizon):
                log.warning("A host is offline", host=host["name"], silent_seconds=OFFLINE_SECONDS)
                note_host(changes, host)
            await decisions.note(connection, list(changes.feed))
        return max(horizon, looked_until)
