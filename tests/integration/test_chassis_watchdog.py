"""Two consumers of a queue with one active: who is paused or waits is well, who is stuck is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.consumer import consume_batches
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.amqp.temporary import temporary_queue
from libs.chassis.amqp.watchdog import EchoPath, Watchdog
from libs.chassis.errors import ConsumerSilent
from libs.contracts.topology import LOGS, Exchange
from libs.stack.rabbitmq import RabbitMQ
from tests.support.amqp_proxy import AmqpProxy, a_proxy
from tests.support.watchdog import LIMIT, TO_END, consumes, has_looked, true

_numbers = count(1)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Single:
    """A queue with one active consumer."""

    name: str
    arguments: dict[str, object] = field(
        default_factory=lambda: {"x-queue-type": "quorum", "x-single-active-consumer": True}
    )


@dataclass
class Consumer:
    """A watched consumer with prefetch 1, behind a proxy of its own."""

    proxy: AmqpProxy
    queue: str
    bodies: list[bytes] = field(default_factory=list)
    may_handle: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, connection: AbstractConnection) -> None:
        """Consume until told to stop, or silent."""
        publisher = Publisher(connection)

        async def watch(subscription: Subscription) -> None:
            key = f"echo.test.{self.queue}"
            path = EchoPath(LOGS, key, "test", f"{self.queue}-{next(_numbers)}", lambda: NOW, shared=True)
            watchdog = Watchdog(connection, publisher, path, limit_seconds=LIMIT)
            await subscription.overhear(await temporary_queue(connection, LOGS, key, most=64), watchdog.hear)
            with watchdog.watching(subscription):
                await watchdog.run(self.stopping)

        await consume_batches(connection, self.queue, self._handle, prefetch=1, stopping=self.stopping, watch=watch)

    async def _handle(self, batch: Any) -> None:
        await self.may_handle.wait()
        self.bodies += [one.body for one in batch]


@asynccontextmanager
async def a_consumer(url: str, queue: str) -> AsyncIterator[tuple[Consumer, asyncio.Task[None]]]:
    """One that consumes, or waits for its turn."""
    async with a_proxy(url) as proxy, closing(await connect(proxy.url, name="consumer")) as connection:
        consumer = Consumer(proxy, queue)
        running = asyncio.create_task(consumer.run(connection))
        try:
            await consumes(proxy, queue)
            await true(lambda: len(proxy.consumed) == 2, within=10, what="echoes are heard")
            yield consumer, running
        finally:
            consumer.may_handle.set()
            consumer.stopping.set()
            await asyncio.wait({running}, timeout=5)
            running.cancel()


async def test_who_is_paused_or_waits_is_well_and_who_is_stuck_is_found(rabbitmq: RabbitMQ) -> None:
    queue = f"watchdog-{next(_numbers)}"
    async with closing(await connect(rabbitmq.amqp_url, name="test")) as connection:
        await declare(connection, [Exchange(LOGS, "topic")], [Single(queue)], [])
        publisher = Publisher(connection)
        async with (
            a_consumer(rabbitmq.amqp_url, queue) as (active, consuming),
            a_consumer(rabbitmq.amqp_url, queue) as (standby, waiting),
        ):
            # One is in hand for long, and no more may be: the rest waits before the eyes of both.
            await publisher.publish([_to(queue, body) for body in (b"1", b"2", b"3")])
            await asyncio.gather(*(has_looked(one.proxy, 2.5, watchdogs=2) for one in (active, standby)))
            assert not consuming.done()
            assert not waiting.done()
            active.may_handle.set()
            standby.may_handle.set()
            await true(lambda: active.bodies == [b"1", b"2", b"3"], within=5, what="all is handled")

            # The queue's deliveries alone are lost: echoes come, the broker counts it, and the standby is not asked.
            active.proxy.muted_queues.add(queue)
            assert await publisher.publish([_to(queue, body) for body in (b"4", b"5", b"6")]) == [Receipt.CONFIRMED] * 3
            await true(consuming.done, within=TO_END, what="the active one is found")
            with pytest.raises(ConsumerSilent, match="messages wait in the queue, and none is given to it"):
                await consuming
            # Which comes first is the broker's: it gives on what waits, then what the former one gives back.
            await true(lambda: sorted(standby.bodies) == [b"4", b"5", b"6"], within=10, what="the standby takes over")
            assert active.bodies == [b"1", b"2", b"3"]
            await has_looked(standby.proxy, 1)
            assert not waiting.done()


def _to(queue: str, body: bytes) -> Outgoing:
    return Outgoing(
        exchange="",
        routing_key=queue,
        body=body,
        message_id=f"watchdog:{next(_numbers)}",
        type="test",
        correlation_id=None,
        app_id="test",
        timestamp=NOW,
    )
