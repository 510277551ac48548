"""A consumer's end of a queue: deliveries in order, and the news of its end.

Every consumer has a channel of its own: what one does wrong closes nothing of another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
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


class Subscription:
    """Made by `open`; `next` and `take` give deliveries until `stopping` is set or the subscription ends."""

    def __init__(self, channel: Channel, queue: str, stopping: asyncio.Event) -> None:
        self.queue = queue
        self._channel = channel
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
    ) -> Subscription:
        """Consume `queue`. `QueueMissing` if there is none, `Refused` if another holds it exclusively."""
        channel = await open_channel(connection, confirms=False)
        subscription = cls(channel, queue, stopping)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(subscription.close)
            with translated(f"consuming {queue}"):
                await channel.basic_qos(prefetch_count=prefetch)
                consuming = await channel.basic_consume(queue, subscription._on_delivery, exclusive=exclusive)
                subscription._tag = consuming.consumer_tag or ""
            undo.pop_all()
        return subscription

    @property
    def ended(self) -> ChassisError | None:
        """Why no more will come: `ConsumerCancelled` or `ConnectionLost`."""
        return self._ended

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
            await self._channel.basic_ack(delivery_tag, multiple=multiple)

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

    async def close(self) -> None:
        """Take no more and give back what is not acknowledged."""
        self._told.cancel()
        self._closed.remove_done_callback(self._on_closed)
        self._closed.cancel()
        self._channel.on_consumer_cancel_callbacks.discard(self._on_cancelled)
        if self._tag and self._ended is None:
            with contextlib.suppress(TimeoutError, amqp.AMQPError, amqp.ChannelInvalidStateError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await self._channel.basic_cancel(self._tag)
        await close_channel(self._channel)

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
        self._buffer.append(message)
        self._wake.set()

    def _on_cancelled(self, frame: Basic.Cancel) -> None:
        self._end(ConsumerCancelled(f"the broker ended consumer {frame.consumer_tag} of {self.queue}"))

    def _on_closed(self, closing: asyncio.Future[Any]) -> None:
        why = "cancelled" if closing.cancelled() else reason(closing.exception())
        self._end(ConnectionLost(f"consuming {self.queue}: {why}"))

    def _end(self, error: ChassisError) -> None:
        if self._ended is None:
            self._ended = error
        self._wake.set()
