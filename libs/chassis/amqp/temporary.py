"""Queues of the moment: they belong to one connection and go with their consumer."""

from __future__ import annotations

from typing import Any

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.channel import answered, channel_of


async def temporary_queue(connection: AbstractConnection, exchange: str, routing_key: str, *, most: int) -> str:
    """Make one that hears `routing_key` and keeps the newest `most` messages; its name, given by the broker.

    Only this connection may use it. `QueueMissing` if there is no such exchange, `ConnectionLost`.
    """
    arguments: dict[str, Any] = {"x-queue-type": "classic", "x-max-length": most, "x-overflow": "drop-head"}
    async with channel_of(connection) as channel, answered(f"declaring a queue for {routing_key} of {exchange}"):
        made = await channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments)
        assert made.queue is not None
        await channel.queue_bind(made.queue, exchange, routing_key)
    return made.queue
