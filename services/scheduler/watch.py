"""How things stand, told to whoever watches: what waits, what is open, who is there.

Every scheduler looks for itself, so any of them answers for the whole: take one, or the largest. While the database is
away the gauges keep what was last seen; `rigbeat_watched_timestamp_seconds` says when that was.
"""

from __future__ import annotations

import asyncio

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Pool
from services.scheduler import metrics
from services.scheduler.statements import STATEMENTS

log = get_logger(__name__)

EVERY_SECONDS = 10.0
"""Below the interval of most scrapers, and one statement."""

_OPEN = ("triggered", "held", "queued", "running")
_HOSTS = ("online", "offline", "revoked")


class Watch(Part):
    """The loop."""

    name = "watch"

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool

    async def run(self) -> None:
        """Look until told to stop."""
        while not self.stopping.is_set():
            try:
                await self.look()
            except (*CONTENDED, *DATABASE_AWAY) as error:
                log.warning("A look at the ledger was put off", error=str(error))
            try:
                await asyncio.wait_for(self.stopping.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Set every gauge, from one statement."""
        state = await self._pool.fetchrow(STATEMENTS.state)
        assert state is not None
        metrics.FIRING.set(state["firing"])
        metrics.OUTBOX_WAITING.set(state["outbox_waiting"])
        metrics.OUTBOX_OLDEST_SECONDS.set(state["outbox_oldest_seconds"])
        metrics.DEAD_LETTERS_OPEN.set(state["dead_letters_open"])
        for name in _OPEN:
            metrics.OPEN.labels(name).set(state[name])
        for name in _HOSTS:
            metrics.HOSTS.labels(name).set(state[name])
        metrics.WATCHED.set_to_current_time()
