"""Looking into queues by hand, as a test does and a service never would."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame, DeliveredMessage
from pamqp.body import ContentBody

from libs.chassis.amqp.channel import channel_of, open_channel
from tests.support.wait import until_async


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it lay in the queue."""

    body: bytes
    type: str
    routing_key: str
    message_id: str
    headers: Mapping[str, Any]
    expiration_ms: str | None
    delivery_mode: int


async def read(connection: AbstractConnection, queue: str, number: int, *, within: float = 5.0) -> list[Seen]:
    """Consume the next `number` messages of a queue; `AssertionError` if they do not come.

    By consuming and not by `basic.get`, which a queue with a single active consumer refuses.
    """
    seen: list[Seen] = []
    async with channel_of(connection) as channel:

        async def take(message: DeliveredMessage) -> None:
            properties = message.header.properties
            seen.append(
                Seen(
                    body=message.body,
                    type=properties.message_type or "",
                    routing_key=str(message.routing_key or ""),
                    message_id=properties.message_id or "",
                    headers=properties.headers or {},
                    expiration_ms=properties.expiration,
                    delivery_mode=int(properties.delivery_mode or 0),
                )
            )
            assert message.delivery_tag is not None
            await channel.basic_ack(message.delivery_tag)

        async def enough() -> bool:
            return len(seen) >= number

        await channel.basic_qos(prefetch_count=1)
        await channel.basic_consume(queue, take)
        await until_async(enough, within=within, what=f"{number} messages on {queue}")
    return seen[:number]


async def read_one(connection: AbstractConnection, queue: str, *, within: float = 5.0) -> Seen:
    """The next message of a queue."""
    [seen] = await read(connection, queue, 1, within=within)
    return seen


# The bits of the properties, in the order in which they lie in a frame (AMQP 0-9-1, 4.2.6.1).
CONTENT_TYPE, HEADERS, MESSAGE_ID, TIMESTAMP, TYPE = 1 << 15, 1 << 13, 1 << 7, 1 << 6, 1 << 5


def short(content: bytes) -> bytes:
    """A short string of these bytes."""
    return bytes([len(content)]) + content


async def publish_raw(
    connection: AbstractConnection, exchange: str, key: bytes, body: bytes, flags: int = 0, properties: bytes = b""
) -> None:
    """Publish with bytes for key and properties that no library would write; returns when the broker has it."""
    channel = await open_channel(connection, confirms=True)
    try:
        publish = struct.pack(">HHH", 60, 40, 0) + short(exchange.encode()) + short(key) + b"\0"
        header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
        size = channel.max_content_size
        frames = [(1, publish), (2, header)]
        frames += [(3, ContentBody(body[at : at + size]).marshal()) for at in range(0, len(body), size)]
        wire = b"".join(struct.pack(">BHI", kind, channel.number, len(part)) + part + b"\xce" for kind, part in frames)
        confirmed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirmed
        await channel.write_queue.put(ChannelFrame(payload=wire, should_close=False))
        await asyncio.wait_for(confirmed, 10)
    finally:
        await channel.close()
