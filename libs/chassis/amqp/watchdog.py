"""Finds consumers that are given nothing any more although the connection looks well, and ends them.

A consumer may be registered here and unknown to the broker, or its channel may deliver nothing while heartbeats come
and go. So, several times in the given time, an echo is sent through the broker to the consumer's own channel, and the
broker is asked what it knows of the queue; `silence` decides. A silent consumer raises `ConsumerSilent`, which nothing
here catches: the process ends, and its supervisor starts another.

Not its business: a broker that is away, or that answers or takes nothing (connecting anew helps, or a person); a
handler that takes long, or that pauses on purpose. An echo that is not confirmed proves nothing, so a broker that holds
publishers back because its memory or disk runs out makes no silence.

The echo costs one small message that is kept nowhere, each look one passive declare of each queue: four of both in the
given time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aio_pika.abc import AbstractConnection

from libs.chassis import metrics
from libs.chassis.amqp.connection import end_task
from libs.chassis.amqp.declare import depths
from libs.chassis.amqp.message import Incoming, Outgoing, Receipt
from libs.chassis.amqp.publisher import Publishes
from libs.chassis.amqp.silence import Look, Sign, Signs, begin, judge, pause_between
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.errors import ConsumerSilent
from libs.chassis.logs import get_logger

log = get_logger(__name__)

ECHO_TYPE = "echo.v1"
AT_WORK = b'{"at_work":true}'
IDLE = b'{"at_work":false}'

_SILENT = metrics.counter(
    "amqp_silent_consumers", "Consumers that were given nothing although the broker was well", ["queue", "sign"]
)

_SENTENCES = {
    Sign.ECHO: "its channel delivers nothing: what the broker confirmed for it does not come",
    Sign.COUNT: "the broker knows no consumer of the queue",
    Sign.BACKLOG: "messages wait in the queue, and none is given to it",
}


@dataclass(frozen=True, slots=True)
class EchoPath:
    """Where an echo is sent, so that it comes to the consumer's channel; `sender` is unlike any other's.

    `shared`: other consumers of the same queues may be there, and hear and send by the same path.
    """

    exchange: str
    routing_key: str
    app_id: str
    sender: str
    clock: Callable[[], datetime]
    shared: bool = False


class Watchdog:
    """Watches the consumers of one channel; whoever hears that channel's echoes hands them to `hear`.

    `publisher` may have a connection of its own, and should where consuming must go on while the broker holds
    publishers back. A silence of `limit_seconds` ends `run`.
    """

    def __init__(
        self, connection: AbstractConnection, publisher: Publishes, path: EchoPath, *, limit_seconds: float
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._path = path
        self._limit = limit_seconds
        self._watched: dict[Subscription, Signs] = {}
        self._asking: asyncio.Task[dict[str, tuple[int, int] | None]] | None = None
        self._sent = self._confirmed = self._back = self._others = self._others_at_work = self._heard = 0
        self._deliveries_told = 0
        self._has_route = True

    @contextlib.contextmanager
    def watching(self, subscription: Subscription) -> Iterator[None]:
        """Watch one more consumer of the channel, for as long as the block lasts."""
        self._watched[subscription] = begin(self._seen(subscription, None), others_may_be=self._path.shared)
        try:
            yield
        finally:
            del self._watched[subscription]

    def hear(self, delivery: Incoming) -> None:
        """Something came on the channel by the path of echoes; whose it is, and whether it is one, is found here."""
        self._heard += 1
        if delivery.type != ECHO_TYPE:
            return
        if delivery.correlation_id == self._path.sender:
            self._back += 1
        elif self._path.shared:  # else it is of a process that was here before us
            self._others += 1
            self._others_at_work += delivery.body == AT_WORK

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch until `stopping` is set. Raises `ConsumerSilent`; `ConnectionLost` as publishing and asking do."""
        pause = pause_between(self._limit)
        try:
            while not await _is_told(stopping, pause):
                await self._send(within=pause / 2)
                self._judge(await self._ask(within=pause / 2))
        finally:
            if self._asking is not None:
                self._asking.cancel()

    async def _send(self, *, within: float) -> None:
        """Send an echo, if there is somebody to hear it."""
        if not self._watched:
            return
        deliveries = sum(one.deliveries for one in self._watched)
        is_at_work = deliveries != self._deliveries_told or any(one.in_hand for one in self._watched)
        self._deliveries_told = deliveries
        self._sent += 1
        echo = Outgoing(
            exchange=self._path.exchange,
            routing_key=self._path.routing_key,
            body=AT_WORK if is_at_work else IDLE,
            message_id=f"{self._path.sender}:{self._sent}",
            type=ECHO_TYPE,
            correlation_id=self._path.sender,
            app_id=self._path.app_id,
            timestamp=self._path.clock(),
            # One that nobody takes any more is of no use to a successor.
            expiration_seconds=self._limit,
            persistent=False,
        )
        [receipt] = await self._publisher.publish([echo], within=within)
        self._confirmed += receipt is Receipt.CONFIRMED
        if receipt is Receipt.RETURNED and self._has_route:
            self._has_route = False
            log.warning(
                "The broker has no way for an echo: a channel that delivers nothing would not be noticed",
                exchange=echo.exchange,
                routing_key=echo.routing_key,
            )

    async def _ask(self, *, within: float) -> dict[str, tuple[int, int] | None]:
        """Ready messages and consumers of the watched queues; nothing while the broker does not answer.

        A question that was not answered stays open, instead of being asked again on another channel.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(depths(self._connection, [one.queue for one in self._watched]))
            self._asking.add_done_callback(_is_known)
        await asyncio.wait({self._asking}, timeout=within)
        if not self._asking.done():
            return {}
        answer, self._asking = self._asking, None
        return answer.result()

    def _judge(self, answers: dict[str, tuple[int, int] | None]) -> None:
        for subscription, signs in list(self._watched.items()):
            seen = self._seen(subscription, answers.get(subscription.queue))
            self._watched[subscription], sign = judge(signs, seen, self._limit)
            if sign is not None:
                self._end(subscription, sign, seen)

    def _seen(self, subscription: Subscription, answer: tuple[int, int] | None) -> Look:
        ready, consumers = (None, None) if answer is None else answer
        return Look(
            at=asyncio.get_running_loop().time(),
            echoes_confirmed=self._confirmed,
            echoes_back=self._back,
            others=self._others,
            others_at_work=self._others_at_work,
            channel_deliveries=self._heard + sum(one.deliveries for one in self._watched),
            deliveries=subscription.deliveries,
            in_hand=subscription.in_hand,
            ready=ready,
            consumers=consumers,
        )

    def _end(self, subscription: Subscription, sign: Sign, seen: Look) -> None:
        _SILENT.labels(subscription.queue, sign.value).inc()
        sentence = f"the consumer of {subscription.queue} is silent: {_SENTENCES[sign]}"
        log.error(
            "A consumer is silent",
            queue=subscription.queue,
            reason=_SENTENCES[sign],
            for_seconds=self._limit,
            ready=seen.ready,
            consumers=seen.consumers,
        )
        raise ConsumerSilent(f"{sentence}, for {self._limit:g} s")


async def watched(work: Awaitable[None], watch: Awaitable[None]) -> None:
    """Do `work`, and `watch` beside it, to the end of `work`; the first error of either ends both and comes out."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(watch)
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            watching.result()
        await working
    finally:
        for one in (working, watching):
            # The connection's end ends both, and one of them says so.
            one.add_done_callback(_is_known)
            one.cancel()
        for one in (working, watching):
            await end_task(one)


def _is_known(task: asyncio.Future[Any]) -> None:
    """Whatever it ended with: if nobody waits for it any more, nobody needs to be told by the loop."""
    if not task.cancelled():
        task.exception()


async def _is_told(stopping: asyncio.Event, within: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await stopping.wait()
    return stopping.is_set()
