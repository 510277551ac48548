"""Live output from the host's files over a real broker to a follower: sooner than the store, and never wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4  # noqa: TID251 - ids of messages

import httpx
import pytest
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.contracts import LogPiece
from libs.contracts.topology import LOGS, Exchange, log_key
from libs.stack.rabbitmq import RabbitMQ
from services.api.auth import Authenticator, Credentials, Ticket
from services.api.live_logs import Inbox, LiveLogs
from services.api.log_follow import LOOK_EVERY_SECONDS, LOOK_IN_THE_STORE_EVERY_SECONDS, Follower
from services.api.routes.workroom import Workroom
from services.host_runner.core.facts import Identity
from services.host_runner.core.vocabulary import RunExited, RunRequested
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.journal import Journal
from services.host_runner.live_output import BEHIND_BYTES, PIECE_BYTES, LiveOutput
from services.host_runner.runner import Runner
from tests.support.amqp_proxy import a_proxy
from tests.support.api import Api, created
from tests.support.host_runner import at, deployment, trigger
from tests.support.outcomes import a_success
from tests.support.wait import until_async
from tests.support.watchdog import Stopwatch, true

HOST = "lab-1"


async def ticket_of(api: Api) -> Ticket:
    """A viewer's."""
    authenticator: Authenticator = api.app.state.authenticator
    token = api.database.token(api.team, "viewer")
    given = Credentials("127.0.0.1", token)
    return Ticket(authenticator, given, await authenticator.caller(given))


@pytest.fixture
async def broker(rabbitmq: RabbitMQ) -> AsyncIterator[AbstractConnection]:
    async with closing(await connect(rabbitmq.amqp_url, name="test")) as connection:
        await declare(connection, [Exchange(LOGS, "topic")], [], [])
        yield connection


@pytest.fixture
async def live(rabbitmq: RabbitMQ, broker: AbstractConnection) -> AsyncIterator[LiveLogs]:
    part = LiveLogs(rabbitmq.amqp_url)
    await part.start()
    yield part
    await part.stop(5)
    assert part.failure is None


def message(host: str, execution: UUID, body: bytes, *, mandatory: bool = False) -> Outgoing:
    return Outgoing(
        exchange=LOGS,
        routing_key=log_key(host, execution),
        body=body,
        message_id=str(uuid4()),
        type=LogPiece.type,
        correlation_id=None,
        app_id="test",
        timestamp=datetime.now(UTC),  # noqa: TID251
        persistent=False,
        mandatory=mandatory,
    )


async def listens(inbox: Inbox) -> None:
    async def does() -> bool:
        return inbox.is_listening

    await until_async(does, within=10, what="listening")


async def is_heard(broker: AbstractConnection, host: str, execution: UUID) -> bool:
    """Whether a queue takes what this host says about this execution."""
    publisher = Publisher(broker)
    receipts = await publisher.publish([message(host, execution, b"nonsense", mandatory=True)])
    await publisher.close()
    return receipts == [Receipt.CONFIRMED]


class Host:
    """A runner with one running script, whose output file the test writes."""

    def __init__(self, place: Path) -> None:
        self.journal = Journal(place / "journal.sqlite", fresh_id=deployment("journal"))
        self.log = DeploymentsLog(place / "deployments.log", place, HOST)
        identity = Identity(HOST, self.journal.id, deployment("runner"))
        host = self.journal.load(frozenset({"stb-1"}), 1)
        self.runner = Runner(host, self.journal, identity, self.log, lambda: datetime.now(UTC))  # noqa: TID251
        self.stopping = asyncio.Event()
        self.place = place
        self.live = LiveOutput(self.runner, place, "output", new_id=uuid4)

    def run(self, execution: UUID) -> None:
        one = replace_id(trigger("a"), execution)
        self.runner.decide(RunRequested(one, False, at(0)))
        (self.place / str(execution)).mkdir()

    def write(self, execution: UUID, content: bytes) -> None:
        with (self.place / str(execution) / "output").open("ab") as file:
            file.write(content)

    def end(self, execution: UUID) -> None:
        self.runner.decide(RunExited(execution, None, a_success(at(1)), at(1)))


def replace_id(one: Any, execution: UUID) -> Any:
    return one.model_copy(update={"execution_id": execution})


@pytest.fixture
async def host(tmp_path: Path, broker: AbstractConnection) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    publishing = asyncio.create_task(host.live.publish(broker, host.stopping))
    yield host
    host.stopping.set()
    await asyncio.wait_for(publishing, 5)
    host.log.close()
    host.journal.close()


async def test_what_a_script_prints_is_heard_at_once(live: LiveLogs, host: Host) -> None:
    execution = deployment("live")
    with live.follow(HOST, execution) as inbox, live.follow(HOST, execution) as other:
        await listens(inbox)
        host.run(execution)
        seen, times = b"", []
        for number in range(5):
            line = f"line {number} größe\n".encode()
            host.write(execution, line)
            before = asyncio.get_running_loop().time()
            [(offset, content)] = await inbox.wait(5)
            times.append(asyncio.get_running_loop().time() - before)
            assert (offset, content) == (len(seen), line)
            seen += content
        assert sorted(times)[2] < LOOK_EVERY_SECONDS, times
        host.write(execution, b"the last words")
        host.end(execution)
        assert await inbox.wait(5) == [(len(seen), b"the last words")]
        assert b"".join(content for _, content in await other.wait(1)) == seen + b"the last words"


async def test_a_flood_is_skipped_and_its_end_is_heard(live: LiveLogs, host: Host) -> None:
    execution = deployment("flood")
    with live.follow(HOST, execution) as inbox:
        await listens(inbox)
        host.run(execution)
        flood = bytes(range(256)) * ((BEHIND_BYTES + PIECE_BYTES) // 256)
        host.write(execution, flood)
        [(offset, content)] = await inbox.wait(5)
        assert offset == len(flood) - PIECE_BYTES
        assert content == flood[offset:]


async def test_only_the_executions_own_host_is_heard_and_nobody_after_the_last_follower(
    live: LiveLogs, broker: AbstractConnection
) -> None:
    execution = deployment("own")
    with live.follow(HOST, execution) as inbox:
        await listens(inbox)
        assert not await is_heard(broker, "lab-2", execution)
        forged = json.dumps({"host": "lab-2", "execution_id": str(execution), "offset": 0, "data": "AAAA"})
        publisher = Publisher(broker)
        await publisher.publish([message(HOST, execution, forged.encode()), message(HOST, execution, b"\xff")])
        good = json.dumps({"host": HOST, "execution_id": str(execution), "offset": 7, "data": "YQ=="})
        await publisher.publish([message(HOST, execution, good.encode())])
        await publisher.close()
        assert await inbox.wait(5) == [(7, b"a")]

    async def is_gone() -> bool:
        return not await is_heard(broker, HOST, execution)

    await until_async(is_gone, within=5, what="the queue is gone")
    with live.follow(HOST, execution) as again:
        await listens(again)


async def test_a_follower_gets_each_byte_once_whatever_is_lost(
    api: Api, editor: httpx.AsyncClient, live: LiveLogs, broker: AbstractConnection
) -> None:
    made = await created(editor)
    execution = UUID((await editor.post(f"/deployments/{made['id']}/run")).json()["id"])
    room: Workroom = api.app.state.workroom
    store, database = room.logs, room.database
    ticket = await ticket_of(api)
    content = "größe 😀\n".encode() * 40
    texts: list[str] = []
    done: list[str] = []

    async def follow(offset: int) -> None:
        async for event in Follower(database, store, ticket, execution, offset).events(live, HOST, room.revocations):
            data = json.loads(event.data or "")
            if event.event == "output":
                assert data["offset"] == len("".join(texts).encode()) + offset
                texts.append(data["text"])
            else:
                done.append(event.event or "")

    async def say(start: int, end: int) -> None:
        piece = LogPiece.model_validate(
            {"host": HOST, "execution_id": execution, "offset": start, "data": b""}
        ).model_copy(update={"data": content[start:end]})
        await publisher.publish([message(HOST, execution, piece.model_dump_json().encode())])

    async def has(number: int) -> None:
        async def there() -> bool:
            assert not following.done() or following.result() is None
            return len("".join(texts).encode()) >= number

        await until_async(there, within=10, what=f"{number} bytes")

    publisher = Publisher(broker)

    async def is_up() -> bool:
        return await is_heard(broker, HOST, execution)

    # Given a follower of a log that has a little stored
    await store.append(execution, 0, content[:20])
    following = asyncio.create_task(follow(0))
    try:
        await has(17)
        await until_async(is_up, within=10, what="the queue is there")
        # When pieces come, also twice and cut within a character, then they are shown though nothing is stored
        await say(20, 53)
        await say(10, 53)
        await say(53, 100)
        await has(97)
        # When one is lost, then it comes out of the store, and what was said after it follows at once
        await say(150, 200)
        await store.append(execution, 20, content[20:160])
        await has(197)
        # When the rest is never said live, the store has it, and the end is told
        await store.append(execution, 160, content[160:])
        api.database.execute(
            "UPDATE deployment_executions SET status = 'completed', completed_at = ledger.now(), log_bytes = %s",
            (len(content),),
        )
        await asyncio.wait_for(following, 10)
        assert "".join(texts) == content.decode()
        assert done == ["end"]
    finally:
        following.cancel()
        await publisher.close()


async def test_a_consumer_that_the_broker_gives_nothing_any_more_costs_seconds_and_no_byte(
    api: Api, editor: httpx.AsyncClient, rabbitmq: RabbitMQ, broker: AbstractConnection
) -> None:
    """Why live output has no watchdog: the store is looked into all the same."""
    made = await created(editor)
    execution = UUID((await editor.post(f"/deployments/{made['id']}/run")).json()["id"])
    room: Workroom = api.app.state.workroom
    ticket = await ticket_of(api)
    seen: list[str] = []

    async def follow(live: LiveLogs) -> None:
        async for event in Follower(room.database, room.logs, ticket, execution, 0).events(
            live, HOST, room.revocations
        ):
            data = json.loads(event.data or "")
            seen.append(data.get("text", ""))

    async def has_all() -> bool:
        return "".join(seen) == said

    async with a_proxy(rabbitmq.amqp_url) as proxy:
        live = LiveLogs(proxy.url)
        await live.start()
        following = asyncio.create_task(follow(live))
        publisher = Publisher(broker)
        said, late = "", []
        try:
            await true(lambda: proxy.consumed, within=10, what="it listens")
            proxy.muted_queues |= proxy.consumed
            for line in ("one\n", "two\n", "three\n", "four\n", "five\n", "six\n"):
                piece = {"host": HOST, "execution_id": str(execution), "offset": len(said), "data": ""}
                one = LogPiece.model_validate(piece).model_copy(update={"data": line.encode()})
                await publisher.publish([message(HOST, execution, one.model_dump_json().encode())])
                await room.logs.append(execution, len(said), line.encode())
                said += line
                stored = Stopwatch()
                await until_async(has_all, within=3 * LOOK_IN_THE_STORE_EVERY_SECONDS, what=said)
                late.append(stored.seconds)
            assert proxy.dropped >= 6
            stored.says(
                f"lines that were lost live are shown; from the store on it took {[round(s, 1) for s in late]} s"
            )
            assert max(late) < 2 * LOOK_IN_THE_STORE_EVERY_SECONDS
        finally:
            following.cancel()
            await publisher.close()
            await live.stop(5)
