"""Exchanges, queues and bindings from data, and how full a queue is.

Everything is declared durable; what else a queue is (type, limits, overflow) is in its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from aio_pika.abc import AbstractChannel, AbstractConnection

from libs.chassis.amqp.channel import answered, channel_of, close_channel, open_channel, translated
from libs.chassis.errors import QueueMissing


class ExchangeLike(Protocol):
    """An exchange; `kind` is direct, topic, fanout or headers."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


class QueueLike(Protocol):
    """A queue with its `x-` arguments."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def arguments(self) -> Mapping[str, object]: ...  # noqa: D102


class BindingLike(Protocol):
    """A way from an exchange to a queue."""

    @property
    def queue(self) -> str: ...  # noqa: D102
    @property
    def exchange(self) -> str: ...  # noqa: D102
    @property
    def routing_key(self) -> str: ...  # noqa: D102


async def declare(
    connection: AbstractConnection,
    exchanges: Sequence[ExchangeLike],
    queues: Sequence[QueueLike],
    bindings: Sequence[BindingLike],
) -> None:
    """Make what is missing, in the given order; what exists as wanted stays.

    `Refused` names what exists with other arguments: the broker never changes those, a person must delete it.
    """
    async with channel_of(connection) as channel:
        for exchange in exchanges:
            async with answered(f"declaring exchange {exchange.name}"):
                await channel.exchange_declare(exchange.name, exchange_type=str(exchange.kind), durable=True)
        for queue in queues:
            async with answered(f"declaring queue {queue.name}"):
                arguments = cast("dict[str, Any]", dict(queue.arguments))
                await channel.queue_declare(queue.name, durable=True, arguments=arguments)
        for binding in bindings:
            async with answered(f"binding {binding.queue} to {binding.exchange}"):
                await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)


async def delete(connection: AbstractConnection, queues: Sequence[str]) -> None:
    """Delete these queues with what is in them; one that is not there is left at that."""
    async with channel_of(connection) as channel:
        for queue in queues:
            async with answered(f"deleting {queue}"):
                await channel.queue_delete(queue)


async def depth(channel: AbstractConnection | AbstractChannel, queue: str) -> tuple[int, int]:
    """Ready messages and consumers of a queue, by a passive declare. `QueueMissing` if there is none.

    With a connection the question has a channel of its own; a channel that is given closes when the queue is missing.
    """
    async with answered(f"looking at {queue}"):
        if isinstance(channel, AbstractConnection):
            async with channel_of(channel) as own:
                answer = await own.queue_declare(queue, passive=True)
        else:
            answer = await (await channel.get_underlay_channel()).queue_declare(queue, passive=True)
    return answer.message_count or 0, answer.consumer_count or 0


async def depths(connection: AbstractConnection, queues: Sequence[str]) -> dict[str, tuple[int, int] | None]:
    """The same of many queues, over one channel as long as none is missing; None for each that is.

    Who does not wait for the answer (or gets an error) closes the connection: the channel is left as it is, since
    closing it would wait for the broker too.
    """
    found: dict[str, tuple[int, int] | None] = {}
    channel = await open_channel(connection, confirms=False)
    for queue in queues:
        if channel.is_closed:
            channel = await open_channel(connection, confirms=False)
        try:
            with translated(f"looking at {queue}"):
                answer = await channel.queue_declare(queue, passive=True)
            found[queue] = answer.message_count or 0, answer.consumer_count or 0
        except QueueMissing:
            found[queue] = None
            await close_channel(channel)
    await close_channel(channel)
    return found
