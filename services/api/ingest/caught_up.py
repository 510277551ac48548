"""The proof that what hosts say is being read, and that little of it waits: then schedulers may ask hosts again.

After the centre was away the broker has thousands of answers. Who asked the hosts for what is in them, or gave up what
they ended long ago, would make as much work again, in the very moment in which there is most of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libs.chassis.errors import ChassisError
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Pool
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

LOOK_EVERY_SECONDS = 5.0


class CaughtUp(Part):
    """Looks every few seconds, and writes `liveness` while nothing waits for a consumer of the results.

    `waiting`: how many messages do, by the broker's count, which leaves out what a consumer has in hand; None when that
    is not known.
    """

    name = "caught-up"

    def __init__(
        self, pool: Pool, *, waiting: Callable[[], Awaitable[int | None]], every_seconds: float = LOOK_EVERY_SECONDS
    ) -> None:
        super().__init__()
        self._pool = pool
        self._waiting = waiting
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look until told to stop."""
        while not self.stopping.is_set():
            try:
                if await self._waiting() == 0:
                    await self._pool.execute(STATEMENTS.caught_up)
            except (*CONTENDED, *DATABASE_AWAY, ChassisError) as error:
                log.warning("Looking for results that wait was put off", error=str(error))
            try:
                await asyncio.wait_for(self.stopping.wait(), self._every_seconds)
            except TimeoutError:
                continue
