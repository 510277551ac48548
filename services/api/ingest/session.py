"""A consumer of one central queue: over as many connections as it takes, ready while it consumes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.consumer import Errors, consume_batches
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Incoming
from libs.chassis.lifecycle import Part
from libs.contracts.topology import central
from libs.ledger.pool import Pool
from services.api.ingest import metrics


class QueueConsumer(Part):
    """Override `handle`, which is given batches in order; what it returned from is acknowledged.

    `transient`: errors after which the same batch is handled again, a little later, and nothing else meanwhile.
    """

    queue: ClassVar[str]
    max_batch: ClassVar[int]
    prefetch: ClassVar[int]
    max_wait_seconds: ClassVar[float] = 0.02
    transient: ClassVar[Errors] = ()

    def __init__(self, pool: Pool, url: str) -> None:
        super().__init__()
        self._pool = pool
        self._url = url
        self.ready = False

    @abstractmethod
    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Take in a batch, which is never empty."""

    async def opened(self, connection: AbstractConnection) -> None:
        """A connection is there, its topology declared; nothing is consumed yet."""

    async def closed(self) -> None:
        """Nothing is consumed any more."""

    async def run(self) -> None:
        """Consume until told to stop, over as many connections as it takes."""
        await forever(self._url, f"rigbeat-ingest-{self.name}", self._session, self.stopping)

    async def _session(self, connection: AbstractConnection) -> None:
        topology = central()
        await declare(connection, topology.exchanges, topology.queues, topology.bindings)
        await self.opened(connection)
        up = metrics.CONSUMER_UP.labels(self.queue)
        self.ready = True
        up.set(1)
        try:
            await consume_batches(
                connection,
                self.queue,
                self.handle,
                prefetch=self.prefetch,
                max_batch=self.max_batch,
                max_wait_seconds=self.max_wait_seconds,
                transient=self.transient,
                stopping=self.stopping,
            )
        finally:
            self.ready = False
            up.set(0)
            await self.closed()
