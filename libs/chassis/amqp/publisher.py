"""Publishing in batches: all frames at once, all confirms awaited together, and one receipt per message.

aio-pika spends some 300 µs of Python on a message. Here the frames of a batch are encoded with pamqp and written to
aiormq's connection in one piece; aiormq's channel still reads confirms, nacks and returns. The channel belongs to the
publisher alone, so that delivery tags cannot be counted by two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import DeliveryError
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from libs.chassis import metrics
from libs.chassis.amqp.channel import close_channel, open_channel
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.errors import ConnectionLost
from libs.chassis.logs import get_logger

log = get_logger(__name__)

# Messages in flight at once: enough to fill the pipe, few enough that heartbeats get between.
WAVE = 1000

_PUBLISHED = metrics.counter("amqp_published", "Published messages by what became of them", ["receipt"])


class Publishes(Protocol):
    """What a dead letter box, or whoever else sends, needs of a publisher."""

    async def publish(self, batch: Sequence[Outgoing], *, within: float = 5.0) -> list[Receipt]:
        """See `Publisher.publish`."""


class Publisher:
    """Publishes on a channel of its own; opened at the first use, and anew after whatever closed it."""

    def __init__(self, connection: AbstractConnection, *, user: str | None = None) -> None:
        """`user`: the connection's; then the broker vouches for it to whoever reads."""
        self._connection = connection
        self._user = user
        self._channel: Channel | None = None
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the channel now. `ConnectionLost` if the connection is closed."""
        async with self._turn:
            await self._ready()

    async def close(self) -> None:
        """Close the channel; `publish` would open another."""
        self._discard()
        if self._closing:
            await asyncio.wait(self._closing)

    async def publish(self, batch: Sequence[Outgoing], *, within: float = 5.0) -> list[Receipt]:
        """Send all of `batch` and say what became of each, in the same order, within so many seconds.

        One at a time: a second call waits for the first. Nothing is raised for a message that was refused; a missing
        exchange makes the broker close the channel, and what was in flight with it is `UNKNOWN`. `ConnectionLost` if
        the connection is closed and nothing was sent.
        """
        receipts = [Receipt.UNKNOWN] * len(batch)
        sent = False
        try:
            async with asyncio.timeout(within), self._turn:
                for wave in _waves(batch):
                    channel = await self._ready()
                    sent = True
                    await self._send(channel, batch, wave, receipts)
        except TimeoutError:
            log.warning("The broker did not confirm in time", within_seconds=within, messages=len(batch))
        except ConnectionLost:
            if not sent:
                raise
        for receipt in Receipt:
            if number := receipts.count(receipt):
                _PUBLISHED.labels(receipt.value).inc(number)
        return list(receipts)  # a late confirm may still change the other list, and nobody would expect it

    async def _ready(self) -> Channel:
        if self._channel is None or self._channel.is_closed:
            self._channel = await open_channel(self._connection, confirms=True)
        return self._channel

    async def _send(
        self, channel: Channel, batch: Sequence[Outgoing], wave: Sequence[int], receipts: list[Receipt]
    ) -> None:
        loop = asyncio.get_running_loop()
        settled = loop.create_future()
        open_ = len(wave)

        def settle(index: int, confirmation: asyncio.Future[Any]) -> None:
            nonlocal open_
            receipts[index] = _receipt(batch[index], confirmation)
            open_ -= 1
            if not open_ and not settled.done():
                settled.set_result(None)

        closed = channel.closing
        intact = False
        try:
            frames: list[Any] = []
            for index in wave:
                message = batch[index]
                confirmation: asyncio.Future[Any] = loop.create_future()
                confirmation.add_done_callback(partial(settle, index))
                channel.delivery_tag += 1
                channel.confirmations[channel.delivery_tag] = confirmation
                channel.message_id_delivery_tag[message.message_id] = channel.delivery_tag
                frames += frames_of(message, channel.max_content_size, self._user)
            await self._write(channel, frames)
            await asyncio.wait({settled, closed}, return_when=asyncio.FIRST_COMPLETED)
            intact = settled.done()
        finally:
            closed.cancel()
            if intact:
                channel.message_id_delivery_tag.clear()
            else:
                # A late answer to this batch must not be taken for one to the next.
                self._discard()

    @staticmethod
    async def _write(channel: Channel, frames: list[Any]) -> None:
        await channel.write_queue.put(ChannelFrame.marshall(channel.number, frames))

    def _discard(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            # In a task: a broker that blocks publishers lets a close wait for long, and the caller has a deadline.
            task = asyncio.create_task(close_channel(channel))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _waves(batch: Sequence[Outgoing]) -> Iterator[list[int]]:
    """Indices in order, at most `WAVE` together and no `message_id` twice, because returns are told apart by it."""
    wave: list[int] = []
    ids: set[str] = set()
    for index, message in enumerate(batch):
        if len(wave) == WAVE or message.message_id in ids:
            yield wave
            wave, ids = [], set()
        wave.append(index)
        ids.add(message.message_id)
    if wave:
        yield wave


def frames_of(message: Outgoing, max_content_size: int, user: str | None = None) -> list[Any]:
    """What goes over the wire to publish this message, with the name of the connection's user if that is given."""
    body = message.body
    frames: list[Any] = [
        Basic.Publish(exchange=message.exchange, routing_key=message.routing_key, mandatory=message.mandatory),
        ContentHeader(properties=message.properties(user), body_size=len(body)),
    ]
    frames += [ContentBody(body[at : at + max_content_size]) for at in range(0, len(body), max_content_size)]
    return frames


def _receipt(message: Outgoing, confirmation: asyncio.Future[Any]) -> Receipt:
    if confirmation.cancelled():
        return Receipt.UNKNOWN
    error = confirmation.exception()
    if isinstance(error, DeliveryError):
        return Receipt.NACKED
    if error is not None:
        return Receipt.UNKNOWN
    answer = confirmation.result()
    if isinstance(answer, DeliveredMessage):
        returned = answer.delivery
        log.warning(
            "A message was returned",
            exchange=message.exchange,
            routing_key=message.routing_key,
            message_id=message.message_id,
            reply=getattr(returned, "reply_text", None),
        )
        return Receipt.RETURNED
    return Receipt.CONFIRMED
