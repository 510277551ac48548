"""A consumer's end of a queue: deliveries in order, and the news of its end.

Every consumer has a channel of its own, so that what one does wrong closes nothing of another; but for those that are
opened `beside` another one, to live and die with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import aiormq.exceptions as amqp
from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.commands import Basic

from libs.chassis.amqp.channel import close_channel, open_channel, reason, translated
from libs.chassis.amqp.message import Incoming
from libs.chassis.errors import ChassisError, ConnectionLost, ConsumerCancelled

CANCEL_SECONDS = 5.0
# A broker whose heartbeats come, but not its answer, would let a consumer wait for ever to become one.
CONSUME_SECONDS = 30.0


class Subscription:
    """Made by `open`; `next` and `take` give deliveries until `stopping` is set or the subscription ends."""

    def __init__(self, channel: Channel, queue: str, stopping: asyncio.Event, *, owns_channel: bool = True) -> None:
        self.queue = queue
        self.deliveries = 0
        """How many were given to us."""
        self.channel = channel
        """aiormq's, for consumers that are opened beside this one."""
        self._owns_channel = owns_channel
        self._unsettled: deque[int] = deque()
        self._stopping = stopping
        self._buffer: deque[DeliveredMessage] = deque()
        self._wake = asyncio.Event()
        self._ended: ChassisError | None = None
        self._tag = ""
        self._closed = channel.closing
        self._closed.add_done_callback(self._on_closed)
        self._told = asyncio.create_task(stopping.wait())
        self._told.add_done_callback(lambda _: self._wake.set())
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)

    @classmethod
    async def open(
        cls,
        connection: AbstractConnection,
        queue: str,
        *,
        prefetch: int,
        stopping: asyncio.Event,
        exclusive: bool = False,
        beside: Subscription | None = None,
    ) -> Subscription:
        """Consume `queue`. `QueueMissing` if there is none, `Refused` if another holds it exclusively.

        With `beside`, on the channel of that one, which must be closed later: only then does what was not settled go
        back to its queue. `prefetch` is each one's own all the same.
        """
        channel = await open_channel(connection, confirms=False) if beside is None else beside.channel
        subscription = cls(channel, queue, stopping, owns_channel=beside is None)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(subscription.close)
            with translated(f"consuming {queue}"):
                async with asyncio.timeout(CONSUME_SECONDS):
                    await channel.basic_qos(prefetch_count=prefetch)
                    consuming = await channel.basic_consume(queue, subscription._on_delivery, exclusive=exclusive)
                subscription._tag = consuming.consumer_tag or ""
            undo.pop_all()
        return subscription

    async def overhear(self, queue: str, hear: Callable[[Incoming], None]) -> None:
        """Consume another queue too, on the same channel and for as long; nothing of it needs to be settled."""

        async def on_delivery(message: DeliveredMessage) -> None:
            hear(Incoming.of(message))

        with translated(f"consuming {queue}"):
            async with asyncio.timeout(CONSUME_SECONDS):
                await self.channel.basic_consume(queue, on_delivery, no_ack=True)

    @property
    def ended(self) -> ChassisError | None:
        """Why no more will come: `ConsumerCancelled` or `ConnectionLost`."""
        return self._ended

    @property
    def in_hand(self) -> int:
        """How many were given to us and are not settled."""
        return len(self._unsettled)

    async def next(self) -> Incoming | None:
        """The next delivery; None once `stopping` is set. Raises why the subscription ended."""
        if await self._available():
            return Incoming.of(self._buffer.popleft())
        return None

    async def take(self, most: int, max_wait_seconds: float) -> list[Incoming]:
        """Wait for one delivery, then up to `max_wait_seconds` for more, `most` at most; empty once stopping is set."""
        if not await self._available():
            return []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_wait_seconds):
                while len(self._buffer) < most and self._ended is None and not self._stopping.is_set():
                    self._wake.clear()
                    await self._wake.wait()
        if self._ended is not None:
            raise self._ended
        return [Incoming.of(self._buffer.popleft()) for _ in range(min(most, len(self._buffer)))]

    async def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Settle a delivery, with `multiple` all before it too. `ConnectionLost` if it can no more be settled."""
        with translated(f"acknowledging from {self.queue}"):
            await self.channel.basic_ack(delivery_tag, multiple=multiple)
        if not multiple:
            self._unsettled.remove(delivery_tag)
            return
        while self._unsettled and self._unsettled[0] <= delivery_tag:
            self._unsettled.popleft()

    async def pause(self, seconds: float) -> bool:
        """Wait without taking more; True if it was interrupted by `stopping`. Raises why the subscription ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._ended is None and not self._stopping.is_set():
                    self._wake.clear()
                    await self._wake.wait()
        if self._ended is not None:
            raise self._ended
        return self._stopping.is_set()

    async def wait_ended(self) -> None:
        """Return once `stopping` is set; raise why the subscription ended if that comes first."""
        while not await self.pause(3600.0):
            pass

    async def reject(self, delivery_tag: int) -> None:
        """Settle a delivery as one that nobody can use: it goes to the queue's dead letters. Raises as `ack` does."""
        with translated(f"rejecting from {self.queue}"):
            await self.channel.basic_reject(delivery_tag, requeue=False)
        self._unsettled.remove(delivery_tag)

    async def close(self) -> None:
        """Take no more and give back what is not acknowledged."""
        self._told.cancel()
        self._closed.remove_done_callback(self._on_closed)
        self._closed.cancel()
        self.channel.on_consumer_cancel_callbacks.discard(self._on_cancelled)
        if self._tag and self._ended is None:
            with contextlib.suppress(TimeoutError, amqp.AMQPError, amqp.ChannelInvalidStateError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await self.channel.basic_cancel(self._tag)
        if self._owns_channel:
            await close_channel(self.channel)

    async def _available(self) -> bool:
        while True:
            if self._ended is not None:
                raise self._ended
            if self._stopping.is_set():
                return False
            if self._buffer:
                return True
            self._wake.clear()
            await self._wake.wait()

    async def _on_delivery(self, message: DeliveredMessage) -> None:
        self.deliveries += 1
        self._unsettled.append(message.delivery.delivery_tag)  # type: ignore[union-attr,arg-type]  # it is a Deliver
        self._buffer.append(message)
        self._wake.set()

    def _on_cancelled(self, frame: Basic.Cancel) -> None:
        # Whichever of the channel it is: they live and die together.
        self._end(ConsumerCancelled(f"the broker ended consumer {frame.consumer_tag} on the channel of {self.queue}"))

    def _on_closed(self, closing: asyncio.Future[Any]) -> None:
        why = "cancelled" if closing.cancelled() else reason(closing.exception())
        self._end(ConnectionLost(f"consuming {self.queue}: {why}"))

    def _end(self, error: ChassisError) -> None:
        if self._ended is None:
            self._ended = error
        self._wake.set()
