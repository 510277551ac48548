"""Publishing what may be lost: nothing is waited for, and what the broker does not take quickly is dropped here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel

from libs.chassis import metrics
from libs.chassis.amqp.channel import close_channel, open_channel
from libs.chassis.amqp.message import Outgoing
from libs.chassis.amqp.publisher import frames_of

_SENT = metrics.counter("amqp_published_unconfirmed", "Messages published without a confirm", ["sent"])


class UnconfirmedPublisher:
    """Publishes on a channel of its own, without confirms; opened at the first use, and anew after what closed it."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: Channel | None = None

    async def publish(self, batch: Sequence[Outgoing]) -> bool:
        """Hand over all of `batch`, or nothing: False when the connection is busy with what it was given before.

        Never waits for the broker but to open the channel. `ConnectionLost` if the connection is closed.
        """
        if self._channel is None or self._channel.is_closed:
            self._channel = await open_channel(self._connection, confirms=False)
        channel = self._channel
        frames = [frame for message in batch for frame in frames_of(message, channel.max_content_size)]
        is_free = channel.write_queue.empty()
        if is_free:
            try:
                channel.write_queue.put_nowait(ChannelFrame.marshall(channel.number, frames))
            except asyncio.QueueFull:
                is_free = False
        _SENT.labels("yes" if is_free else "no").inc(len(batch))
        return is_free

    async def close(self) -> None:
        """Close the channel; `publish` would open another."""
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            await close_channel(channel)
