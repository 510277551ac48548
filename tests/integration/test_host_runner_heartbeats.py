"""What a host says of itself: at once when its devices do something else, else seldom; hello when scripts change."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path

import pytest
from aio_pika.abc import AbstractIncomingMessage

from libs.chassis.amqp.channel import channel_of
from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.publisher import Publisher
from libs.contracts import DeviceInfo, HostHeartbeat, HostHello, ScriptInfo, decode
from libs.contracts.topology import RESULTS, RESULTS_PERSIST, central
from libs.stack.rabbitmq import RabbitMQ
from services.host_runner.core.facts import Identity
from services.host_runner.core.vocabulary import RunExited, RunStarted
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.journal import Journal
from services.host_runner.outbound import BETWEEN_HEARTBEATS_SECONDS, Outbound
from services.host_runner.runner import Runner
from tests.support.host_runner import deployment, lock, trigger, unlock
from tests.support.outcomes import a_success
from tests.support.wait import until_async

SELDOM_SECONDS = 25.0
_numbers = count(1)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the host's clock


class Host:
    """A runner's decisions and its voice on a real broker, and who listens."""

    def __init__(self, place: Path) -> None:
        self.name = f"beat-{os.getpid()}-{next(_numbers)}"
        self.beats: list[HostHeartbeat] = []
        self.hellos: list[HostHello] = []
        self.journal = Journal(place / "journal.sqlite", fresh_id=deployment("journal"))
        self.log = DeploymentsLog(place / "deployments.log", place, self.name)
        identity = Identity(self.name, self.journal.id, deployment("runner"))
        host = self.journal.load(frozenset({"stb-1", "stb-2"}), 2)
        self.runner = Runner(host, self.journal, identity, self.log, now)
        ids = (deployment(f"id {number}") for number in count())
        self.outbound = Outbound(
            self.runner,
            (DeviceInfo(device_id="stb-1"), DeviceInfo(device_id="stb-2")),
            boot_id="boot",
            version="1",
            heartbeat_seconds=SELDOM_SECONDS,
            new_id=lambda: next(ids),
        )

    async def listen(self, delivery: AbstractIncomingMessage) -> None:
        event = decode(delivery.type, delivery.body)
        if isinstance(event, HostHeartbeat):
            self.beats.append(event)
        elif isinstance(event, HostHello):
            self.hellos.append(event)

    def said(self) -> list[tuple[str, int]]:
        """Of each device what it does and how many wait for it, in the latest heartbeat."""
        return [(state.status, len(state.pending)) for state in self.beats[-1].devices] if self.beats else []

    async def says(self, first: str, waiting: int = 0) -> None:
        """The first device's state, within about a second; how long the broker takes to deliver it does not count."""
        since = now()

        async def is_so() -> bool:
            return self.said() == [(first, waiting), ("free", 0)]

        await until_async(is_so, within=10, what=f"{first}, {waiting}: not {self.said()}")
        assert self.beats[-1].host_sent_at - since < timedelta(seconds=BETWEEN_HEARTBEATS_SECONDS + 1)

    def gaps(self) -> list[float]:
        """Seconds between heartbeats, when they were sent."""
        sent = [beat.host_sent_at for beat in self.beats]
        return [(b - a).total_seconds() for a, b in pairwise(sent)]

    async def has_looked(self) -> None:
        """What has moved so far is known, and said if it is news."""

        async def is_so() -> bool:
            return not self.runner.has_moved.is_set()

        await until_async(is_so, within=10)


@pytest.fixture
async def host(tmp_path: Path, rabbitmq: RabbitMQ) -> AsyncIterator[Host]:
    host, stopping = Host(tmp_path), asyncio.Event()
    async with closing(await connect(rabbitmq.amqp_url, name="test voice")) as connection:
        topology = central()
        await declare(connection, topology.exchanges, topology.queues, topology.bindings)
        channel = await connection.channel()
        ears = await channel.declare_queue(exclusive=True)
        for event in ("heartbeat", "hello"):
            await ears.bind(RESULTS, f"{host.name}.{event}")
        await ears.consume(host.listen, no_ack=True)
        publisher = Publisher(connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(host.outbound.heartbeats(publisher, stopping))
            group.create_task(host.outbound.hellos(publisher, stopping))
            yield host
            stopping.set()
        await publisher.close()
        async with channel_of(connection) as cleaner:
            await cleaner.queue_purge(RESULTS_PERSIST)
    host.log.close()
    host.journal.close()


async def test_what_devices_do_is_said_within_a_second_and_not_more_often(host: Host) -> None:
    await host.says("free")
    first, second = (trigger("a", host=host.name), trigger("b", host=host.name, on_device_busy="queue"))
    host.runner.request(first)
    await host.says("running")
    assert host.beats[-1].devices[0].execution_id == first.execution_id
    # Said once: a start and a lock during the run change nothing of it.
    before = len(host.beats)
    host.runner.apply(RunStarted(first.execution_id, now(), now()))
    host.runner.tell(lock(1).model_copy(update={"host": host.name}))
    await host.has_looked()
    host.runner.request(second)
    await host.says("running", 1)
    assert len(host.beats) == before + 1
    host.runner.decide(RunExited(first.execution_id, None, a_success(now()), now()))
    await host.says("locked", 1)
    host.runner.tell(unlock(2).model_copy(update={"host": host.name}))
    await host.says("running")
    assert host.beats[-1].devices[0].execution_id == second.execution_id
    assert [beat.wants_clock for beat in host.beats] == [True] + [False] * (len(host.beats) - 1)
    assert min(host.gaps()) > BETWEEN_HEARTBEATS_SECONDS * 0.9


async def test_many_changes_are_said_together(host: Host) -> None:
    await host.says("free")
    loop, versions = asyncio.get_running_loop(), count(1)
    end, changed = loop.time() + 1.5 * BETWEEN_HEARTBEATS_SECONDS, 0

    async def changes_on() -> bool:
        nonlocal changed
        changed += 1
        host.runner.tell(lock(next(versions)).model_copy(update={"host": host.name}))
        host.runner.tell(unlock(next(versions)).model_copy(update={"host": host.name}))
        return loop.time() > end and changed > 10

    await until_async(changes_on, within=20)
    host.runner.tell(lock(next(versions)).model_copy(update={"host": host.name}))
    await host.says("locked")
    # Not how many: a busy machine takes longer for all of it.
    assert min(host.gaps()) > BETWEEN_HEARTBEATS_SECONDS * 0.9


async def test_hello_is_said_again_when_the_scripts_change(host: Host) -> None:
    async def heard(*names: str) -> None:
        async def is_so() -> bool:
            return bool(host.hellos) and [script.name for script in host.hellos[-1].scripts] == [*names]

        await until_async(is_so, within=5)

    await heard()
    host.outbound.offer((ScriptInfo(name="health.py"),))
    await heard("health.py")
    number = len(host.hellos)
    host.outbound.offer((ScriptInfo(name="health.py"),))
    assert not host.outbound._hello_wanted.is_set()
    host.outbound.offer((ScriptInfo(name="health.py"), ScriptInfo(name="soak.py")))
    await heard("health.py", "soak.py")
    assert len(host.hellos) == number + 1, "the same scripts are no news"
