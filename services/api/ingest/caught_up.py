"""The proof that what hosts say is being read, and that little of it waits: then schedulers may ask hosts again.

After the centre was away the broker has thousands of answers. Who asked the hosts for what is in them, or gave up what
they ended long ago, would make as much work again, in the very moment in which there is most of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.declare import depth
from libs.chassis.errors import ChassisError
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts.topology import RESULTS_PERSIST
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Pool
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

LOOK_EVERY_SECONDS = 5.0


class CaughtUp(Part):
    """Looks every few seconds, and writes `liveness` while no result waits for its consumer.

    `is_stuck`: whether our own consumer has had the same results in hand for long. The connection is its own, so that
    nobody else ends what it asks.
    """

    name = "caught-up"

    def __init__(
        self, pool: Pool, url: str, *, is_stuck: Callable[[], bool], every_seconds: float = LOOK_EVERY_SECONDS
    ) -> None:
        super().__init__()
        self._pool = pool
        self._url = url
        self._is_stuck = is_stuck
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look until told to stop, over as many connections as it takes."""
        await forever(self._url, "rigbeat-ingest-caught-up", self._session, self.stopping)

    async def _session(self, connection: AbstractConnection) -> None:
        while not self.stopping.is_set():
            try:
                ready, consumers = await depth(connection, RESULTS_PERSIST)
                # A busy leader that does not answer in time is shown as an empty queue that nobody consumes.
                if consumers and not ready and not self._is_stuck():
                    await self._pool.execute(STATEMENTS.caught_up)
            except (*CONTENDED, *DATABASE_AWAY, ChassisError) as error:
                log.warning("Looking for results that wait was put off", error=str(error))
            try:
                await asyncio.wait_for(self.stopping.wait(), self._every_seconds)
            except TimeoutError:
                continue
