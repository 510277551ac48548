"""A consumer of one central queue: over as many connections as it takes, ready while it consumes."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.consumer import Errors, consume_batches
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Incoming
from libs.chassis.amqp.publisher import Publishes
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.amqp.temporary import temporary_queue
from libs.chassis.amqp.watchdog import EchoPath, Watchdog
from libs.chassis.lifecycle import Part
from libs.contracts.topology import LOGS, central, central_echo_key
from libs.ledger.pool import Pool
from services.api.ingest import metrics

APP_ID = "rigbeat-ingest"
MOST_ECHOES = 64
"""Kept in the broker for one consumer; they are read at once."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How consumers are watched: who sends their echoes, and after how many seconds they are silent."""

    echoes: Publishes
    limit_seconds: float


class QueueConsumer(Part):
    """Override `handle`, which is given batches in order; what it returned from is acknowledged.

    `transient`: errors after which the same batch is handled again, a little later, and nothing else meanwhile.
    With a `watch`, a consumer that is given nothing any more although the broker is well ends with `ConsumerSilent`.
    """

    queue: ClassVar[str]
    max_batch: ClassVar[int]
    prefetch: ClassVar[int]
    max_wait_seconds: ClassVar[float] = 0.02
    transient: ClassVar[Errors] = ()

    def __init__(self, pool: Pool, url: str, watch: Watch | None = None) -> None:
        super().__init__()
        self._pool = pool
        self._url = url
        self._watch = watch
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
                watch=None if self._watch is None else partial(self._look_after, connection, self._watch),
            )
        finally:
            self.ready = False
            up.set(0)
            await self.closed()

    async def _look_after(self, connection: AbstractConnection, watch: Watch, subscription: Subscription) -> None:
        key = central_echo_key(self.queue)
        # No decision hangs on the two: who sent an echo, and when, is only told apart by the first.
        sender = f"{os.getpid()}-{os.urandom(8).hex()}"
        path = EchoPath(LOGS, key, APP_ID, sender, lambda: datetime.now(UTC), shared=True)  # noqa: TID251
        watchdog = Watchdog(connection, watch.echoes, path, limit_seconds=watch.limit_seconds)
        await subscription.overhear(await temporary_queue(connection, LOGS, key, most=MOST_ECHOES), watchdog.hear)
        with watchdog.watching(subscription):
            await watchdog.run(self.stopping)
