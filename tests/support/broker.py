"""Looking into queues by hand, as a test does and a service never would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage

from libs.chassis.amqp.channel import channel_of
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
