"""Consuming: the handler's answer decides what becomes of a delivery.

    returns              acknowledged
    poison               published to the dead letters with the reason and confirmed, then acknowledged
    transient            kept unacknowledged; the handler is called again after a pause, and nothing else meanwhile
    anything else        passes to the caller: a bug. The delivery goes back to its queue

The pause is taken here and not by reconnecting, because every return to a quorum queue counts towards its delivery
limit: a database that is away for a minute must not make dead letters. When the patience is at its end, the error
passes to the caller as `Transient`, well before RabbitMQ ends consumers that hold a delivery (30 minutes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from aio_pika.abc import AbstractConnection

from libs.chassis import metrics
from libs.chassis.amqp.dead import DeadLetters
from libs.chassis.amqp.message import Incoming
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.amqp.watchdog import watched
from libs.chassis.backoff import delays
from libs.chassis.errors import Poison, Transient
from libs.chassis.logs import get_logger

log = get_logger(__name__)

PATIENCE_SECONDS = 900.0

T = TypeVar("T")
Errors = tuple[type[Exception], ...]

_CONSUMED = metrics.counter("amqp_consumed", "Deliveries by what became of them", ["queue", "verdict"])


class Verdict(StrEnum):
    """What becomes of a delivery."""

    ACK = "ack"
    DEAD = "dead"
    RETRY = "retry"


async def consume_each(
    connection: AbstractConnection,
    queue: str,
    handler: Callable[[Incoming], Awaitable[None]],
    *,
    prefetch: int = 1,
    poison: Errors = (),
    transient: Errors = (),
    dead: DeadLetters,
    stopping: asyncio.Event,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Hand over one delivery at a time, in order, until `stopping` is set; the one in hand is finished first.

    Raises `ConsumerCancelled`, `ConnectionLost`, `QueueMissing`, `Unconfirmed` (the dead letter exchange did not take
    a message; it is kept), `Transient` at the end of the patience, and whatever else the handler raised.
    """
    bad: Errors = (*poison, Poison)
    subscription = await Subscription.open(connection, queue, prefetch=prefetch, stopping=stopping)
    try:
        while (message := await subscription.next()) is not None:
            try:
                done = await _patiently(subscription, handler, message, transient, patience_seconds)
            except bad as error:
                why = f"{type(error).__name__}: {error}"
                log.warning("A message goes to the dead letters", queue=queue, id=message.message_id, reason=why)
                await dead.bury(message, queue=queue, reason=why)
                done = Verdict.DEAD
            if done is Verdict.RETRY:
                return
            await subscription.ack(message.delivery_tag)
            _CONSUMED.labels(queue, done.value).inc()
    finally:
        await subscription.close()


async def consume_batches(
    connection: AbstractConnection,
    queue: str,
    handler: Callable[[Sequence[Incoming]], Awaitable[None]],
    *,
    prefetch: int = 500,
    max_batch: int = 500,
    max_wait_seconds: float = 0.02,
    transient: Errors = (),
    stopping: asyncio.Event,
    patience_seconds: float = PATIENCE_SECONDS,
    watch: Callable[[Subscription], Awaitable[None]] | None = None,
) -> None:
    """Hand over deliveries in batches, in order, and acknowledge each batch at once when the handler has returned.

    A batch is never empty; it waits `max_wait_seconds` for more after its first. What in it is poison is the
    handler's to find and to bury. Raises as `consume_each` does. `watch` is run beside it, for as long as it takes;
    what it raises ends the consuming.
    """
    subscription = await Subscription.open(connection, queue, prefetch=prefetch, stopping=stopping)

    async def consume() -> None:
        while batch := await subscription.take(min(max_batch, prefetch), max_wait_seconds):
            if await _patiently(subscription, handler, batch, transient, patience_seconds) is Verdict.RETRY:
                return
            await subscription.ack(batch[-1].delivery_tag, multiple=True)
            _CONSUMED.labels(queue, Verdict.ACK.value).inc(len(batch))

    try:
        await (consume() if watch is None else watched(consume(), watch(subscription)))
    finally:
        await subscription.close()


async def _patiently(
    subscription: Subscription,
    handler: Callable[[T], Awaitable[None]],
    work: T,
    transient: Errors,
    patience_seconds: float,
) -> Verdict:
    """Call the handler until it returns (`ACK`) or until we are told to stop while it cannot (`RETRY`)."""
    away: Errors = (*transient, Transient)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + patience_seconds
    pauses = delays()
    while True:
        try:
            await handler(work)
        except away as error:
            pause = next(pauses)
            _CONSUMED.labels(subscription.queue, Verdict.RETRY.value).inc()
            if loop.time() + pause > give_up_at:
                raise Transient(f"consuming {subscription.queue}: {type(error).__name__}: {error}") from error
            log.warning(
                "Consuming pauses", queue=subscription.queue, reason=str(error), again_in_seconds=round(pause, 2)
            )
            if await subscription.pause(pause):
                return Verdict.RETRY
        else:
            return Verdict.ACK
