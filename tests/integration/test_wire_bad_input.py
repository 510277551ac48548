"""Bad messages on every queue: each ends where people find it, and what came behind it is handled.

Nonsense, an unknown type, ten megabytes, bytes that no client library would write, and what is meant for somebody else.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import depth
from libs.contracts import topology
from libs.stack.rabbitmq import RabbitMQ
from tests.integration.test_host_runner import a_lab as a_host
from tests.support.broker import HEADERS, TIMESTAMP, TYPE, publish_raw, read, short
from tests.support.host_runner import fence
from tests.support.ingest import Lab, Word, a_lab, fresh_id, heartbeat, ingesting, trigger_message
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async

TEN_MEGABYTES = b" " * (10 << 20)


@dataclass(frozen=True)
class Bad:
    """A message: its properties as they go over the wire, its body, and how its reason begins."""

    name: str
    body: bytes
    flags: int
    properties: bytes
    reason: str = "ContractError"
    key: bytes = b""

    @classmethod
    def of(cls, name: str, body: bytes, type_: str, **more: str) -> Bad:
        return cls(name, body, TYPE, short(type_.encode()), **more)  # type: ignore[arg-type]


def table(type_: str) -> list[Bad]:
    """What no queue wants, whatever it carries; `type_` is one that the queue takes.

    The bodies differ: what died twice with the same body and without an id is one dead letter.
    """
    entry = b"\x01n" + b"l" + struct.pack(">Q", 2**64 - 1)
    named = short(type_.encode())
    return [
        Bad.of("nonsense", b"\xff\0 no JSON", type_),
        Bad.of("nothing", b"", type_),
        Bad.of("another shape", b'[{"host": 1}]', type_),
        Bad.of("too deep", b"[" * 100_000, type_),
        Bad.of("an unknown type", b'{"n": 1}', "trigger.v77"),
        Bad.of("ten megabytes", TEN_MEGABYTES, type_),
        Bad("no type", b'{"n": 2}', 0, b""),
        Bad("a type that is no text", b'{"n": 3}', TYPE, short(b"\xff\xfe")),
        Bad("a header that is no text", b'{"n": 4}', HEADERS, struct.pack(">I", 5) + b"\x02\xff\xfet\x01"),
        Bad("a time beyond all calendars", b'{"n": 5}', TIMESTAMP | TYPE, b"\xff" * 8 + named),
        Bad("a number that nobody writes", b'{"n": 6}', HEADERS | TYPE, struct.pack(">I", len(entry)) + entry + named),
    ]


@pytest.fixture
async def lab(rabbitmq: RabbitMQ, ledger_database: LedgerDatabase) -> AsyncIterator[Lab]:
    async with a_lab(rabbitmq, ledger_database) as made:
        yield made


async def _publish(lab: Lab, exchange: str, key: bytes, bad: Bad) -> None:
    await publish_raw(lab.connection, exchange, bad.key or key, bad.body, bad.flags, bad.properties)


async def test_results(lab: Lab) -> None:
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    foreign = Word(fresh_id(), fresh_id()).finished().model_dump_json().encode()
    stray = trigger_message(execution, deployment).model_dump_json().encode()
    cases = [
        *table("execution.finished.v1"),
        Bad.of("a result of an unknown deployment", foreign, "execution.finished.v1", reason="unknown deployment"),
        Bad.of("a trigger among the results", stray, "trigger.v1"),
        Bad("a key that is no text", foreign, TYPE, short(b"execution.finished.v1"), key=b"\xff\xfe.finished"),
    ]
    for bad in cases:
        await _publish(lab, topology.RESULTS, b"lab-1.finished", bad)
    await lab.tell(Word(execution, deployment).finished())
    async with ingesting(lab):
        await lab.row_is(execution, "completed", None, False, within=30)
        await lab.value_is(len(cases), "SELECT count(*) FROM dead_letters", within=30)
    letters = lab.database.execute("SELECT queue, reason, state FROM dead_letters")
    assert {(queue, state) for queue, _, state in letters} == {(topology.RESULTS_PERSIST, "open")}
    assert sorted(reason.partition(":")[0] for _, reason, _ in letters) == sorted(bad.reason for bad in cases)
    assert lab.one("SELECT max(body_size) FROM dead_letters") == len(TEN_MEGABYTES)
    assert await depth(lab.connection, topology.RESULTS_PERSIST) == (0, 0)


async def test_presence(lab: Lab) -> None:
    lab.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 hour'")
    cases = [
        *table("host.heartbeat.v1"),
        Bad.of("another host's", heartbeat("lab-2").model_dump_json().encode(), "host.heartbeat.v1"),
        Bad("a key that is no text", b"{}", TYPE, short(b"host.heartbeat.v1"), key=b"\xff.heartbeat"),
    ]
    for bad in cases:
        await _publish(lab, topology.RESULTS, b"lab-1.heartbeat", bad)
    await lab.tell(heartbeat(clock_offset_seconds=0.25))
    seen = "SELECT last_seen_at > ledger.now() - interval '1 minute' FROM hosts WHERE name = %s"
    async with ingesting(lab):
        await lab.value_is(True, seen, "lab-1", within=30)
    assert lab.one(seen, "lab-2") is False
    # Worth nothing after the next one: such a message is counted and dropped.
    assert lab.one("SELECT count(*) FROM dead_letters") == 0
    assert await depth(lab.connection, topology.HOSTS_PRESENCE) == (0, 0)


async def test_dead_letters(lab: Lab) -> None:
    cases = table("trigger.v1")
    for bad in cases:
        await _publish(lab, topology.DEAD, b"\xff\xfe.lab-1", bad)
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    body = trigger_message(execution, deployment).model_dump_json().encode()
    death = {"x_dead_reason": "expired", "x_dead_queue": topology.triggers_queue("lab-1")}
    await lab.send(lab.message(body, type_="trigger.v1", key="lab-1", exchange=topology.DEAD, **death))
    async with ingesting(lab):
        await lab.row_is(execution, "skipped", "missed", True, within=30)
        await lab.value_is(len(cases) + 1, "SELECT count(*) FROM dead_letters", within=30)
    assert await depth(lab.connection, topology.DEAD_LETTERS) == (0, 0)


async def test_both_queues_of_a_host(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    async with a_host(tmp_path, rabbitmq) as host:
        stray = host.fire("login", host="lab-other").model_dump_json().encode()
        strange = fence("login", version=1).model_dump_json().encode()
        order = fence("login", version=1).model_copy(update={"host": host.host})
        triggers = [*table("trigger.v1"), Bad.of("another host's", stray, "trigger.v1")]
        commands = [
            *table("command.fence.v1"),
            Bad.of("another host's", strange, "command.fence.v1"),
            Bad.of("a trigger", stray, "trigger.v1"),
        ]
        connection = await connect(rabbitmq.amqp_url, name="test stray")
        async with closing(connection):
            queues = topology.triggers_queue(host.host), topology.commands_queue(host.host)
            for queue, cases in zip(queues, (triggers, commands), strict=True):
                for bad in cases:
                    await publish_raw(connection, "", queue.encode(), bad.body, bad.flags, bad.properties)
            await host.tell(order)
            good = await host.run("other")
            host.start_runner()
            await host.answer_to(order)
            await host.hears(good, "started", within=30)
            dead = await read(connection, topology.DEAD_LETTERS, len(triggers) + len(commands), within=30)
            # The broker's own words, as the host may not write there. Whose properties cannot be read is there, too.
            readable = [letter.headers for letter in dead if letter.headers]
            assert len(dead) - len(readable) == 2 * 3
            assert {headers["x-first-death-queue"] for headers in readable} == set(queues)
            assert {headers["x-first-death-reason"] for headers in readable} == {"rejected"}

            async def is_empty() -> bool:
                return [(await depth(connection, queue))[0] for queue in queues] == [0, 0]

            await until_async(is_empty, within=10)
        assert {each.execution_id for each in host.events if hasattr(each, "execution_id")} <= {good.execution_id, None}
