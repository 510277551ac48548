"""Our AMQP against a real RabbitMQ: what was confirmed is there, what was not acknowledged comes again.

Every test has queues of its own, named after it, and deletes them.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol
from uuid import UUID

import pytest
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.channel import channel_of
from libs.chassis.amqp.connection import closing, connect, forever
from libs.chassis.amqp.consumer import consume_batches, consume_each
from libs.chassis.amqp.dead import DeadLetters, death
from libs.chassis.amqp.declare import declare, depth
from libs.chassis.amqp.message import Incoming, Outgoing, Receipt
from libs.chassis.amqp.publisher import WAVE, Publisher
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.errors import ConnectionLost, ConsumerCancelled, QueueMissing, Refused, Transient, Unconfirmed
from tests.support.wait import until_async

AT = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
QUORUM: Mapping[str, object] = {"x-queue-type": "quorum"}

_numbers = count(1)


class RabbitMQ(Protocol):
    """What these tests need of the server."""

    @property
    def amqp_url(self) -> str: ...
    @property
    def management_url(self) -> str: ...


@dataclass(frozen=True)
class Exchange:
    name: str
    kind: str = "direct"


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: Mapping[str, object] = field(default_factory=lambda: dict(QUORUM))


@dataclass(frozen=True)
class Binding:
    queue: str
    exchange: str
    routing_key: str


@dataclass(frozen=True)
class Broker:
    """A connection and the names of one test: an exchange to a queue, a topic exchange to a dead letter queue."""

    server: RabbitMQ
    connection: AbstractConnection
    exchange: str
    queue: str
    dead_exchange: str
    dead_queue: str
    publisher: Publisher

    @property
    def dead(self) -> DeadLetters:
        return DeadLetters(self.publisher, self.dead_exchange, clock=lambda: AT)

    def message(self, text: str, **changes: Any) -> Outgoing:
        values: dict[str, Any] = {
            "exchange": self.exchange,
            "routing_key": self.queue,
            "body": text.encode(),
            "message_id": f"id-{text}-{next(_numbers)}",
            "type": "thing.v1",
            "correlation_id": "c-1",
            "app_id": "conformance",
            "timestamp": AT,
            "headers": {"traceparent": "00-abc"},
        }
        return Outgoing(**(values | changes))

    async def publish(self, *bodies: str) -> None:
        receipts = await self.publisher.publish([self.message(body) for body in bodies])
        assert receipts == [Receipt.CONFIRMED] * len(bodies)

    async def declare(self, name: str, arguments: Mapping[str, object]) -> str:
        queue = f"{self.queue}.{name}"
        await declare(self.connection, [], [Queue(queue, arguments)], [Binding(queue, self.exchange, queue)])
        return queue

    async def ready(self, queue: str) -> int:
        """Ready messages, by a question on a channel of its own."""
        return (await depth(self.connection, queue))[0]

    async def take(self, queue: str, number: int) -> list[Incoming]:
        """Take and acknowledge exactly so many."""
        stopping = asyncio.Event()
        subscription = await Subscription.open(self.connection, queue, prefetch=number, stopping=stopping)
        try:
            async with asyncio.timeout(10):
                taken = [await subscription.next() for _ in range(number)]
            for message in taken:
                assert message is not None
                await subscription.ack(message.delivery_tag)
            return [message for message in taken if message is not None]
        finally:
            await subscription.close()


@pytest.fixture
async def broker(rabbitmq: RabbitMQ, request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    name = re.sub(r"\W", ".", f"conformance.{request.node.name}")[:110]
    async with closing(await connect(rabbitmq.amqp_url, name=name)) as connection:
        made = Broker(rabbitmq, connection, name, f"{name}.q", f"{name}.dead", f"{name}.dead.q", Publisher(connection))
        await declare(
            connection,
            [Exchange(made.exchange), Exchange(made.dead_exchange, "topic")],
            [Queue(made.dead_queue), Queue(made.queue)],
            [Binding(made.dead_queue, made.dead_exchange, "#"), Binding(made.queue, made.exchange, made.queue)],
        )
        try:
            yield made
        finally:
            await made.publisher.close()
            await _forget(rabbitmq, name)


async def _forget(rabbitmq: RabbitMQ, name: str) -> None:
    async with closing(await connect(rabbitmq.amqp_url, name=name)) as connection, channel_of(connection) as channel:
        for each in await _manage(rabbitmq, "GET", "queues/%2F?columns=name"):
            if each["name"].startswith(name):
                await channel.queue_delete(each["name"])
        for exchange in (name, f"{name}.dead"):
            await channel.exchange_delete(exchange)


async def _manage(rabbitmq: RabbitMQ, method: str, path: str) -> Any:
    """A call of the management API; the user is the one of the AMQP URL."""
    user = urllib.parse.urlsplit(rabbitmq.amqp_url)
    credentials = b64encode(f"{user.username or 'guest'}:{user.password or 'guest'}".encode()).decode()
    url = urllib.parse.urlsplit(rabbitmq.management_url)
    base = f"{url.scheme}://{url.hostname}:{url.port}"
    request = urllib.request.Request(
        f"{base}/api/{path}", method=method, headers={"Authorization": f"Basic {credentials}"}
    )

    def call() -> Any:
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    return await asyncio.to_thread(call)


class Running:
    """A consumer in the background, ended whatever happens."""

    def __init__(self, work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> None:
        self.task = asyncio.create_task(work)
        self._stopping = stopping

    async def __aenter__(self) -> Running:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.wait({self.task}, timeout=5)
        if not self.task.done():
            self.task.cancel()
            await asyncio.wait({self.task})

    async def ends(self, within: float = 10) -> None:
        """Wait for the end by itself, and raise what it raised."""
        async with asyncio.timeout(within):
            await self.task


async def soon(condition: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return condition()

    await until_async(asked, within=10)


# Publishing


async def test_a_confirmed_message_arrives_as_it_was_sent(broker: Broker) -> None:
    sent = broker.message("hello", expiration_seconds=60.0)
    assert await broker.publisher.publish([sent]) == [Receipt.CONFIRMED]
    (got,) = await broker.take(broker.queue, 1)
    assert (got.body, got.message_id, got.type, got.correlation_id) == (b"hello", sent.message_id, "thing.v1", "c-1")
    assert (got.exchange, got.routing_key, got.app_id) == (broker.exchange, broker.queue, "conformance")
    assert (got.timestamp, got.header("traceparent"), got.redelivered) == (AT, "00-abc", False)


async def test_a_batch_larger_than_a_wave_arrives_whole_and_in_order(broker: Broker) -> None:
    number = WAVE + 7
    receipts = await broker.publisher.publish([broker.message(str(n)) for n in range(number)], within=30)
    assert receipts == [Receipt.CONFIRMED] * number
    got = await broker.take(broker.queue, number)
    assert [message.body for message in got] == [str(n).encode() for n in range(number)]


async def test_a_body_larger_than_a_frame_arrives_whole(broker: Broker) -> None:
    big = broker.message("big", body=b"x" * 300_000)
    assert await broker.publisher.publish([broker.message("before"), big]) == [Receipt.CONFIRMED] * 2
    got = await broker.take(broker.queue, 2)
    assert [len(message.body) for message in got] == [6, 300_000]


async def test_an_unroutable_message_is_returned_and_its_neighbours_are_confirmed(broker: Broker) -> None:
    nowhere = broker.message("lost", routing_key="nowhere")
    quiet = broker.message("dropped", routing_key="nowhere", mandatory=False)
    receipts = await broker.publisher.publish([broker.message("a"), nowhere, quiet, broker.message("b")])
    assert receipts == [Receipt.CONFIRMED, Receipt.RETURNED, Receipt.CONFIRMED, Receipt.CONFIRMED]


async def test_returns_are_told_apart_even_with_one_id_twice(broker: Broker) -> None:
    same = UUID(int=7).hex
    batch = [broker.message("lost", routing_key="nowhere", message_id=same), broker.message("a", message_id=same)]
    assert await broker.publisher.publish(batch) == [Receipt.RETURNED, Receipt.CONFIRMED]
    assert await broker.publisher.publish(batch[::-1]) == [Receipt.CONFIRMED, Receipt.RETURNED]


async def test_a_missing_exchange_is_not_confirmed_and_poisons_nothing(broker: Broker) -> None:
    receipts = await broker.publisher.publish([broker.message("lost", exchange="there.is.none")])
    assert receipts == [Receipt.UNKNOWN]
    await broker.publish("next")
    assert await broker.ready(broker.queue) == 1


async def test_a_full_queue_nacks(broker: Broker) -> None:
    full = await broker.declare("full", {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"})
    receipts = [(await broker.publisher.publish([broker.message(body, routing_key=full)]))[0] for body in ("a", "b")]
    assert receipts == [Receipt.CONFIRMED, Receipt.NACKED]


async def test_no_answer_in_time_is_unknown_and_a_late_answer_is_not_taken_for_another(broker: Broker) -> None:
    await broker.publisher.open()
    same = UUID(int=7).hex
    late = broker.message("late", routing_key="nowhere", message_id=same)
    assert await broker.publisher.publish([late], within=0.0) == [Receipt.UNKNOWN]
    assert await broker.publisher.publish([broker.message("a", message_id=same)]) == [Receipt.CONFIRMED]


async def test_publishing_on_a_closed_connection_says_so(broker: Broker) -> None:
    async with closing(await connect(broker.server.amqp_url, name="short")) as short:
        publisher = Publisher(short)
        assert await publisher.publish([broker.message("a")]) == [Receipt.CONFIRMED]
    with pytest.raises(ConnectionLost):
        await publisher.publish([broker.message("b")])


async def test_an_expired_message_is_dead_lettered_by_the_broker(broker: Broker) -> None:
    dying = await broker.declare(
        "dying",
        {
            **QUORUM,
            "x-dead-letter-exchange": broker.dead_exchange,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )
    message = broker.message("late", routing_key=dying, expiration_seconds=0.05)
    assert await broker.publisher.publish([message]) == [Receipt.CONFIRMED]
    (got,) = await broker.take(broker.dead_queue, 1)
    died = death(got.headers)
    assert died is not None
    assert (died.queue, died.reason, died.exchange) == (dying, "expired", broker.exchange)
    assert got.message_id == message.message_id


# Consuming one by one


class Bad(Exception):  # noqa: N818
    pass


class Away(Exception):  # noqa: N818
    pass


async def test_what_the_handler_returns_from_is_acknowledged_in_order(broker: Broker) -> None:
    seen: list[bytes] = []
    stopping = asyncio.Event()

    async def handler(message: Incoming) -> None:
        seen.append(message.body)

    await broker.publish("1", "2", "3")
    work = consume_each(broker.connection, broker.queue, handler, dead=broker.dead, stopping=stopping)
    async with Running(work, stopping):
        await soon(lambda: len(seen) == 3)
    assert seen == [b"1", b"2", b"3"]
    assert await depth(broker.connection, broker.queue) == (0, 0)


async def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_next_is_handled(broker: Broker) -> None:
    seen: list[bytes] = []
    stopping = asyncio.Event()

    async def handler(message: Incoming) -> None:
        if message.body == b"bad":
            raise Bad("field 'x' is missing")
        seen.append(message.body)

    await broker.publish("bad", "good")
    work = consume_each(broker.connection, broker.queue, handler, poison=(Bad,), dead=broker.dead, stopping=stopping)
    async with Running(work, stopping):
        await soon(lambda: seen == [b"good"])
    (buried,) = await broker.take(broker.dead_queue, 1)
    died = death(buried.headers)
    assert died is not None
    assert (died.queue, died.reason, died.exchange) == (broker.queue, "Bad: field 'x' is missing", broker.exchange)
    assert (buried.body, buried.type, buried.routing_key) == (b"bad", "thing.v1", broker.queue)
    assert (buried.header("traceparent"), buried.correlation_id, buried.timestamp) == ("00-abc", "c-1", AT)
    assert await broker.ready(broker.queue) == 0


async def test_poison_is_kept_when_the_dead_letters_do_not_take_it(broker: Broker) -> None:
    async def handler(_: Incoming) -> None:
        raise Bad

    await broker.publish("bad")
    nowhere = DeadLetters(broker.publisher, broker.exchange + ".missing", clock=lambda: AT)
    stopping = asyncio.Event()
    work = consume_each(broker.connection, broker.queue, handler, poison=(Bad,), dead=nowhere, stopping=stopping)
    async with Running(work, stopping) as running:
        with pytest.raises(Unconfirmed):
            await running.ends()
    assert [message.body for message in await broker.take(broker.queue, 1)] == [b"bad"]


async def test_transient_pauses_and_keeps_the_message_and_its_place(broker: Broker) -> None:
    attempts: list[tuple[bytes, bool]] = []
    stopping = asyncio.Event()

    async def handler(message: Incoming) -> None:
        attempts.append((message.body, message.redelivered))
        if len(attempts) < 3:
            raise Away("the database is away")

    await broker.publish("1", "2")
    work = consume_each(
        broker.connection, broker.queue, handler, transient=(Away,), dead=broker.dead, stopping=stopping
    )
    async with Running(work, stopping):
        await soon(lambda: len(attempts) == 4)
    # Not redelivered: a return to the queue would count towards its delivery limit.
    assert attempts == [(b"1", False), (b"1", False), (b"1", False), (b"2", False)]
    assert await depth(broker.connection, broker.queue) == (0, 0)


async def test_transient_beyond_the_patience_reaches_the_caller_and_the_message_stays(broker: Broker) -> None:
    async def handler(_: Incoming) -> None:
        raise Away("for long")

    await broker.publish("1")
    stopping = asyncio.Event()
    work = consume_each(
        broker.connection,
        broker.queue,
        handler,
        transient=(Away,),
        dead=broker.dead,
        stopping=stopping,
        patience_seconds=0.1,
    )
    async with Running(work, stopping) as running:
        with pytest.raises(Transient, match="for long"):
            await running.ends()
    (kept,) = await broker.take(broker.queue, 1)
    assert (kept.body, kept.redelivered) == (b"1", True)


async def test_a_bug_reaches_the_caller_and_the_message_comes_again(broker: Broker) -> None:
    async def handler(_: Incoming) -> None:
        raise LookupError("a bug")

    await broker.publish("1")
    stopping = asyncio.Event()
    work = consume_each(
        broker.connection, broker.queue, handler, poison=(Bad,), transient=(Away,), dead=broker.dead, stopping=stopping
    )
    async with Running(work, stopping) as running:
        with pytest.raises(LookupError, match="a bug"):
            await running.ends()
    (again,) = await broker.take(broker.queue, 1)
    assert again.redelivered
    assert await broker.ready(broker.dead_queue) == 0


async def test_a_stop_finishes_the_message_in_hand_and_gives_back_the_rest(broker: Broker) -> None:
    seen: list[bytes] = []
    stopping = asyncio.Event()
    may_end = asyncio.Event()

    async def handler(message: Incoming) -> None:
        seen.append(message.body)
        await may_end.wait()

    await broker.publish("1", "2", "3")
    work = consume_each(broker.connection, broker.queue, handler, prefetch=2, dead=broker.dead, stopping=stopping)
    async with Running(work, stopping) as running:
        await soon(lambda: len(seen) == 1)
        stopping.set()
        may_end.set()
        await running.ends()
    assert seen == [b"1"]
    # In any order: what was given back may come behind what a new consumer was sent meanwhile.
    assert sorted([message.body for message in await broker.take(broker.queue, 2)]) == [b"2", b"3"]


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_queue_deleted_under_its_consumer_ends_it(broker: Broker, kind: str) -> None:
    doomed = await broker.declare("doomed", {"x-queue-type": kind})

    async def handler(_: Incoming) -> None:
        raise AssertionError("nothing was sent")

    stopping = asyncio.Event()
    work = consume_each(broker.connection, doomed, handler, dead=broker.dead, stopping=stopping)
    async with Running(work, stopping) as running:
        await until_async(lambda: _consumed(broker, doomed), within=5)
        async with channel_of(broker.connection) as channel:
            await channel.queue_delete(doomed)
        with pytest.raises(ConsumerCancelled):
            await running.ends(within=5)


async def test_a_queue_that_is_not_there_is_said(broker: Broker) -> None:
    async def handler(_: Incoming) -> None:
        raise AssertionError("nothing was sent")

    with pytest.raises(QueueMissing):
        await consume_each(broker.connection, "none", handler, dead=broker.dead, stopping=asyncio.Event())
    with pytest.raises(QueueMissing):
        await depth(broker.connection, "none")


async def test_the_holder_of_an_exclusive_consumer_is_alone(broker: Broker) -> None:
    presence = await broker.declare("presence", {"x-queue-type": "classic"})
    stopping = asyncio.Event()
    held = await Subscription.open(broker.connection, presence, prefetch=1, stopping=stopping, exclusive=True)
    with pytest.raises(Refused, match="exclusive"):
        await Subscription.open(broker.connection, presence, prefetch=1, stopping=stopping, exclusive=True)
    await held.close()
    again = await Subscription.open(broker.connection, presence, prefetch=1, stopping=stopping, exclusive=True)
    await again.close()


# Consuming in batches


async def test_batches_are_acknowledged_together_and_a_failing_one_comes_again(broker: Broker) -> None:
    seen: list[bytes] = []
    stopping = asyncio.Event()

    async def handler(batch: Sequence[Incoming]) -> None:
        if b"25" in [message.body for message in batch]:
            raise LookupError("a bug")
        seen.extend(message.body for message in batch)

    everything = [str(n).encode() for n in range(30)]
    await broker.publish(*(body.decode() for body in everything))
    work = consume_batches(broker.connection, broker.queue, handler, max_batch=10, stopping=stopping)
    async with Running(work, stopping) as running:
        with pytest.raises(LookupError):
            await running.ends()
    rest = await broker.take(broker.queue, len(everything) - len(seen))
    assert seen + [message.body for message in rest] == everything
    assert b"25" not in seen


async def test_a_batch_does_not_wait_for_more_than_its_time(broker: Broker) -> None:
    batches: list[int] = []
    stopping = asyncio.Event()

    async def handler(batch: Sequence[Incoming]) -> None:
        batches.append(len(batch))

    work = consume_batches(broker.connection, broker.queue, handler, max_wait_seconds=0.02, stopping=stopping)
    async with Running(work, stopping):
        await broker.publish("1")
        await soon(lambda: sum(batches) == 1)
        await broker.publish("2", "3")
        await soon(lambda: sum(batches) == 3)
    assert await depth(broker.connection, broker.queue) == (0, 0)


# The session


async def test_a_session_comes_back_after_its_connection_was_killed_and_loses_nothing(broker: Broker) -> None:
    name = f"killed.{broker.queue}"
    seen: list[bytes] = []
    news: list[str] = []
    stopping = asyncio.Event()

    async def handler(message: Incoming) -> None:
        seen.append(message.body)

    async def body(connection: AbstractConnection) -> None:
        dead = DeadLetters(Publisher(connection), broker.dead_exchange, clock=lambda: AT)
        await consume_each(connection, broker.queue, handler, dead=dead, stopping=stopping)
        news.append("drained")

    session = forever(
        broker.server.amqp_url,
        name,
        body,
        stopping,
        on_up=lambda: news.append("up"),
        on_down=lambda _: news.append("down"),
    )
    async with Running(session, stopping) as running:
        await broker.publish("1")
        await soon(lambda: seen == [b"1"])
        await _kill(broker.server, name)
        await soon(lambda: news == ["up", "down", "up"])
        await broker.publish("2")
        await soon(lambda: seen == [b"1", b"2"])
        stopping.set()
        await running.ends()
    assert news == ["up", "down", "up", "drained"]


async def test_a_body_that_is_busy_with_something_else_hears_of_the_lost_connection(broker: Broker) -> None:
    name = f"busy.{broker.queue}"
    bodies: list[str] = []
    stopping = asyncio.Event()

    async def body(_: AbstractConnection) -> None:
        bodies.append("began")
        try:
            await stopping.wait()
        except asyncio.CancelledError:
            bodies.append("cancelled")
            raise

    async with Running(forever(broker.server.amqp_url, name, body, stopping), stopping):
        await soon(lambda: bodies == ["began"])
        await _kill(broker.server, name)
        await soon(lambda: bodies == ["began", "cancelled", "began"])


async def test_a_session_passes_on_what_is_no_matter_of_the_connection(broker: Broker) -> None:
    async def body(_: AbstractConnection) -> None:
        raise ConsumerCancelled

    with pytest.raises(ConsumerCancelled):
        await forever(broker.server.amqp_url, "ends", body, asyncio.Event())


async def test_a_session_without_a_broker_stops_at_once(unused_tcp_port: int) -> None:
    down = asyncio.Event()
    stopping = asyncio.Event()

    async def body(_: AbstractConnection) -> None:
        raise AssertionError("there is no broker")

    url = f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/"
    session = forever(url, "alone", body, stopping, on_down=lambda _: down.set())
    async with Running(session, stopping) as running:
        async with asyncio.timeout(5):
            await down.wait()
        stopping.set()
        await running.ends(within=2)


async def test_a_wrong_password_is_refused(rabbitmq: RabbitMQ) -> None:
    url = urllib.parse.urlsplit(rabbitmq.amqp_url)
    wrong = url._replace(netloc=f"nobody:wrong@{url.hostname}:{url.port}").geturl()
    with pytest.raises(Refused):
        await connect(wrong, name="stranger")


# Declaring


async def test_declaring_again_is_nothing_and_declaring_otherwise_is_refused(broker: Broker) -> None:
    queue = await broker.declare("again", QUORUM)
    await broker.declare("again", QUORUM)
    await broker.publisher.publish([broker.message("kept", routing_key=queue)])
    with pytest.raises(Refused, match="inequivalent"):
        await broker.declare("again", {**QUORUM, "x-max-length": 5})
    assert await broker.ready(queue) == 1


async def _consumed(broker: Broker, queue: str) -> bool:
    return (await depth(broker.connection, queue))[1] == 1


async def _kill(rabbitmq: RabbitMQ, name: str) -> None:
    """Close by force the connection that operators see under this name."""

    async def found() -> str | None:
        for each in await _manage(rabbitmq, "GET", "connections"):
            if each.get("client_properties", {}).get("connection_name") == name:
                return str(each["name"])
        return None

    victim = await until_async(found, within=15, what="the management API lists the connection")
    await _manage(rabbitmq, "DELETE", f"connections/{urllib.parse.quote(str(victim), safe='')}")
