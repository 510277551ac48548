"""A real runner process on a real broker. The test plays the centre: publishes triggers and hears what comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from libs.chassis.amqp.channel import channel_of
from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import declare, depth
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.contracts import (
    AnyCommand,
    Cancel,
    CommandApplied,
    CommandResult,
    ExecutionFact,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    HostEvent,
    HostHello,
    Reason,
    Sync,
    Trigger,
    decode,
    encode,
    fire_id,
)
from libs.contracts.topology import RESULTS, RESULTS_PERSIST, central, of_host, presence_queue, triggers_queue
from libs.stack.process import Child, start
from libs.stack.rabbitmq import RabbitMQ
from tests.support.host_runner import deployment, fence, lock
from tests.support.log_sink import TOKEN, LogSink
from tests.support.wait import until, until_async

ROOT = Path(__file__).parents[2]
SCRIPT = """#!/bin/sh
# Says that it ran, waits until it may end, and ends as it is told.
echo "$RIGBEAT_EXECUTION_ID" >> "{place}/effects"
echo "working on $*"
turns=0
while [ ! -e "{place}/go-$RIGBEAT_EXECUTION_ID" ] && [ ! -e "{place}/go-all" ] && [ $turns -lt 5000 ]; do
    sleep 0.02
    turns=$((turns + 1))
done
echo done
[ ! -e "{place}/fail-$RIGBEAT_EXECUTION_ID" ]
"""

_numbers = count(1)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the centre's clock


class Lab:
    """One host: its folders, its queues, its runner; and the centre's ears and mouth."""

    def __init__(self, place: Path, amqp_url: str, connection: AbstractConnection, sink: LogSink) -> None:
        self.host = f"lab-{os.getpid()}-{next(_numbers)}"
        self.place = place
        self.sink = sink
        self.events: list[HostEvent] = []
        self.bodies: dict[str, bytes] = {}
        self._amqp_url = amqp_url
        self._connection = connection
        self._publisher = Publisher(connection)
        self._runners: list[Child] = []
        self._fires = count()
        (place / "scripts").mkdir()
        script = place / "scripts" / "work.sh"
        script.write_text(SCRIPT.format(place=place))
        script.chmod(0o755)

    def environment(self, state: str = "state") -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251 - of the test itself
            "PYTHONPATH": str(ROOT),
            "RIGBEAT_HOST_NAME": self.host,
            "RIGBEAT_AMQP_URL": self._amqp_url,
            "RIGBEAT_API_URL": self.sink.url,
            "RIGBEAT_TOKEN": TOKEN,
            "RIGBEAT_SCRIPTS_DIR": str(self.place / "scripts"),
            "RIGBEAT_STATE_DIR": str(self.place / state),
            "RIGBEAT_DEPLOYMENTS_LOG": str(self.place / "deployments.log"),
            "RIGBEAT_DEVICES": json.dumps([{"device_id": "stb-1"}, {"device_id": "stb-2"}]),
            "RIGBEAT_HTTP_PORT": "0",
            "RIGBEAT_GRACE_SECONDS": "1",
        }

    def start_runner(self, state: str = "state", **more: str) -> Child:
        command = [sys.executable, "-m", "services.host_runner"]
        log = self.place / f"runner-{len(self._runners)}.log"
        child = start("host-runner", command, env=self.environment(state) | more, log=log, cwd=ROOT)
        self._runners.append(child)
        return child

    def end(self) -> None:
        """No script and no runner outlives the test."""
        (self.place / "go-all").touch()
        for runner in self._runners:
            runner.kill()
        for run in self.place.glob("state*/runs/*"):
            until(lambda run=run: (run / "status").exists() or not (run / "start").exists(), within=10, what=str(run))  # type: ignore[misc]

    async def listen(self, delivery: AbstractIncomingMessage) -> None:
        event = decode(delivery.type, delivery.body)
        assert isinstance(event, HostEvent)
        if self.bodies.setdefault(delivery.message_id or "", delivery.body) is not delivery.body:
            # What was not confirmed in time comes again, as it was: a reader knows it by its id.
            assert self.bodies[delivery.message_id or ""] == delivery.body
            return
        self.events.append(event)
        if isinstance(event, HostHello):
            await self.tell(
                Sync(
                    command_id=deployment(str(now())),
                    host=self.host,
                    ledger_epoch=1,
                    host_sent_at=event.host_sent_at,
                    db_time=now(),
                )
            )

    async def tell(self, message: Trigger | AnyCommand) -> None:
        envelope = encode(message, message_id=f"{message.host}:{now()}", at=now(), app_id="test")
        outgoing = Outgoing(
            exchange=envelope.exchange,
            routing_key=envelope.routing_key,
            body=envelope.body,
            message_id=envelope.message_id,
            type=envelope.type,
            correlation_id=envelope.correlation_id,
            app_id=envelope.app_id,
            timestamp=envelope.timestamp,
        )
        assert await self._publisher.publish([outgoing]) == [Receipt.CONFIRMED]

    def fire(self, name: str, **given: Any) -> Trigger:
        """A trigger of now; each is some milliseconds after the last, so that their ids differ."""
        scheduled_at = now() + timedelta(milliseconds=next(self._fires))
        values: dict[str, Any] = {
            "execution_id": fire_id(deployment(name), scheduled_at),
            "deployment_id": deployment(name),
            "deployment_name": name,
            "ledger_epoch": 1,
            "version": 1,
            "kind": "cron",
            "scheduled_at": scheduled_at,
            "not_after": scheduled_at + timedelta(seconds=600),
            "host": self.host,
            "device_id": "stb-1",
            "script_name": "work.sh",
            "userinterface_name": "demo",
            "parameters": "--limit 2",
        }
        return Trigger(**(values | given))

    async def run(self, name: str, **given: Any) -> Trigger:
        trigger = self.fire(name, **given)
        await self.tell(trigger)
        return trigger

    def may_end(self, trigger: Trigger, *, failing: bool = False) -> None:
        if failing:
            (self.place / f"fail-{trigger.execution_id}").touch()
        (self.place / f"go-{trigger.execution_id}").touch()

    def facts(self, trigger: Trigger) -> list[ExecutionFact]:
        found = [one for one in self.events if isinstance(one, ExecutionFact)]
        return [one for one in found if one.execution_id == trigger.execution_id]

    def words(self, trigger: Trigger) -> list[str]:
        return [one.event for one in self.facts(trigger)]

    async def hears(self, trigger: Trigger, *words: str, within: float = 10) -> ExecutionFact:
        """Wait until exactly these words were said of the execution; the last of them."""

        async def has_come() -> bool:
            return self.words(trigger) == list(words)

        await until_async(has_come, within=within, what=f"{words}, not {self.words(trigger)}")
        return self.facts(trigger)[-1]

    async def answer_to(self, command: AnyCommand) -> CommandApplied:
        def found() -> list[CommandApplied]:
            answers = [one for one in self.events if isinstance(one, CommandApplied)]
            return [one for one in answers if one.command_id == command.command_id]

        async def has_come() -> bool:
            return bool(found())

        await until_async(has_come, within=10, what=f"an answer to {command}")
        return found()[0]

    def effects(self) -> list[UUID]:
        path = self.place / "effects"
        return [UUID(line) for line in path.read_text().split()] if path.exists() else []

    def has_log(self, trigger: Trigger) -> Callable[[], Any]:
        async def is_there() -> bool:
            return self.sink.logs[trigger.execution_id].endswith(b"done\n")

        return is_there


@asynccontextmanager
async def a_lab(place: Path, rabbitmq: RabbitMQ) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        connection = await connect(rabbitmq.amqp_url, name="test centre")
        await stack.enter_async_context(closing(connection))
        sink = LogSink()
        await sink.start()
        stack.push_async_callback(sink.stop)
        lab = Lab(place, rabbitmq.amqp_url, connection, sink)
        for topology in (central(), of_host(lab.host)):
            await declare(connection, topology.exchanges, topology.queues, topology.bindings)
        channel = await connection.channel()
        ears = await channel.declare_queue(exclusive=True)
        for event in ("queued", "skipped", "started", "finished", "hello", "device", "applied"):
            await ears.bind(RESULTS, f"{lab.host}.{event}")
        await ears.consume(lab.listen, no_ack=True)
        try:
            yield lab
        finally:
            lab.end()
            async with channel_of(connection) as cleaner:
                for queue in of_host(lab.host).queues:
                    await cleaner.queue_delete(queue.name)
                await cleaner.queue_purge(RESULTS_PERSIST)


@pytest.fixture
async def lab(tmp_path: Path, rabbitmq: RabbitMQ) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path, rabbitmq) as lab:
        yield lab


@pytest.mark.parametrize("failing", [False, True])
async def test_one_runs_one_waits_one_is_skipped(lab: Lab, failing: bool) -> None:
    lab.start_runner()
    first, second, third = [await lab.run("login") for _ in range(3)]
    await lab.hears(first, "started", within=15)
    await lab.hears(second, "queued")
    skipped = await lab.hears(third, "skipped")
    assert isinstance(skipped, ExecutionSkipped)
    assert (skipped.reason, skipped.message) == (Reason.ALREADY_QUEUED, "Already queued (max 1)")
    lab.may_end(first, failing=failing)
    finished = await lab.hears(first, "started", "finished")
    assert isinstance(finished, ExecutionFinished)
    assert finished.status is (ExecutionStatus.FAILED if failing else ExecutionStatus.COMPLETED)
    assert finished.exit_code == int(failing)
    started = await lab.hears(second, "queued", "started")
    assert isinstance(started, ExecutionStarted)
    # The brief for the pending slot is 50 ms; here the machine may be busy. How long it takes to start a process for
    # it afterwards is not the slot's doing.
    assert started.admitted_at is not None
    assert started.started_at >= finished.completed_at
    assert started.admitted_at - finished.completed_at < timedelta(seconds=1)
    lab.may_end(second)
    await lab.hears(second, "queued", "started", "finished")
    assert lab.effects() == [first.execution_id, second.execution_id]
    await until_async(lab.has_log(first), within=5)
    expected = f"working on demo --limit 2 --host {lab.host} --device stb-1\ndone\n"
    assert lab.sink.logs[first.execution_id].decode() == expected
    assert finished.log_bytes == len(expected)
    assert [one.sequence for one in lab.events if isinstance(one, ExecutionFact | CommandApplied)] == sorted(
        {one.sequence for one in lab.events if isinstance(one, ExecutionFact | CommandApplied)}
    )
    lines = (lab.place / "deployments.log").read_text()
    for words in ("TRIGGERED: login", "EXECUTING: login", "QUEUED: login", "SKIPPED: login | Already queued (max 1)"):
        assert words in lines
    assert "🔄 EXECUTING QUEUED: login | Queued at: " in lines


async def test_two_deployments_on_one_device_take_turns(lab: Lab) -> None:
    lab.start_runner()
    first = await lab.run("first")
    await lab.hears(first, "started", within=15)
    refused = await lab.run("impatient")
    skipped = await lab.hears(refused, "skipped")
    assert isinstance(skipped, ExecutionSkipped)
    assert skipped.reason is Reason.DEVICE_BUSY
    patient = await lab.run("patient", on_device_busy="queue")
    elsewhere = await lab.run("elsewhere", device_id="stb-2")
    await lab.hears(patient, "queued")
    await lab.hears(elsewhere, "started")
    lab.may_end(first)
    await lab.hears(patient, "queued", "started")
    assert lab.words(first) == ["started", "finished"]


async def test_a_lock_lets_a_run_go_on_and_expires_by_itself(lab: Lab) -> None:
    lab.start_runner()
    running = await lab.run("running")
    await lab.hears(running, "started", within=15)
    until = now().replace(microsecond=0) + timedelta(seconds=10)  # time enough for all that it must keep out
    order = lock(1).model_copy(update={"host": lab.host, "since": now(), "expires_at": until})
    await lab.tell(order)
    assert (await lab.answer_to(order)).result is CommandResult.APPLIED
    skipped = await lab.hears(await lab.run("impatient"), "skipped")
    assert isinstance(skipped, ExecutionSkipped)
    assert skipped.reason is Reason.DEVICE_LOCKED
    assert skipped.message.endswith(f": anna, new firmware, until {until:%Y-%m-%d %H:%M:%S} UTC")
    patient = await lab.run("patient", on_device_busy="queue")
    queued = await lab.hears(patient, "queued")
    assert isinstance(queued, ExecutionQueued)
    assert queued.reason is Reason.DEVICE_LOCKED
    lab.may_end(running)
    finished = await lab.hears(running, "started", "finished")
    assert isinstance(finished, ExecutionFinished)
    assert finished.status is ExecutionStatus.COMPLETED, "the lock let it go on"
    started = await lab.hears(patient, "queued", "started", within=20)
    assert isinstance(started, ExecutionStarted)
    assert started.started_at >= until
    assert started.admitted_at is not None
    assert timedelta() <= started.admitted_at - until < timedelta(seconds=2), "nobody had to say a word"


async def test_a_full_host_says_who_fills_it(lab: Lab) -> None:
    lab.start_runner(RIGBEAT_MAX_PARALLEL="1")
    first = await lab.run("first")
    await lab.hears(first, "started", within=15)
    skipped = await lab.hears(await lab.run("impatient", device_id="stb-2"), "skipped")
    assert isinstance(skipped, ExecutionSkipped)
    assert (skipped.reason, skipped.message) == (
        Reason.HOST_BUSY,
        "The host already ran as many scripts as it may (1): first on stb-1",
    )
    patient = await lab.run("patient", device_id="stb-2", on_device_busy="queue")
    queued = await lab.hears(patient, "queued")
    assert isinstance(queued, ExecutionQueued)
    assert queued.reason is Reason.HOST_BUSY
    lab.may_end(first)
    await lab.hears(patient, "queued", "started")


async def test_a_fence_empties_the_slot_and_refuses_what_is_older(lab: Lab) -> None:
    lab.start_runner()
    first, second = await lab.run("login"), await lab.run("login")
    await lab.hears(second, "queued", within=15)
    order = fence("login", 2, Reason.STOPPED).model_copy(update={"host": lab.host})
    await lab.tell(order)
    assert (await lab.answer_to(order)).result is CommandResult.APPLIED
    skipped = await lab.hears(second, "queued", "skipped")
    assert isinstance(skipped, ExecutionSkipped)
    assert skipped.reason is Reason.STOPPED
    older = await lab.run("login")
    await lab.hears(older, "skipped")
    # Its shim may still be coming up on a busy machine: what had its device runs on, whatever is fenced.
    await lab.hears(first, "started", within=15)


async def test_cancel_ends_what_runs_and_what_waits(lab: Lab) -> None:
    lab.start_runner()
    first, second = await lab.run("login"), await lab.run("login")
    await lab.hears(second, "queued", within=15)
    # A cancel that comes before the script did anything is another matter.
    await until_async(lambda: asyncio.to_thread(lab.effects), within=10)
    for trigger in (second, first):
        await lab.tell(
            Cancel(
                command_id=trigger.execution_id,
                host=lab.host,
                execution_id=trigger.execution_id,
                deployment_id=trigger.deployment_id,
            )
        )
    waiting = await lab.hears(second, "queued", "finished")
    assert isinstance(waiting, ExecutionFinished)
    assert (waiting.status, waiting.started_at) == (ExecutionStatus.CANCELLED, None)
    running = await lab.hears(first, "started", "finished")
    assert isinstance(running, ExecutionFinished)
    assert (running.status, running.reason) == (ExecutionStatus.CANCELLED, Reason.CANCELLED_BY_USER)
    assert running.started_at is not None
    assert lab.effects() == [first.execution_id]


async def test_a_killed_runner_adopts_what_runs(lab: Lab) -> None:
    runner = lab.start_runner()
    first, second = await lab.run("login"), await lab.run("login")
    await lab.hears(first, "started", within=15)
    await lab.hears(second, "queued")
    runner.kill()
    lab.start_runner()
    barrier = await lab.run("elsewhere", device_id="stb-2")
    await lab.hears(barrier, "started", within=20)
    assert lab.words(first) == ["started"]
    lab.may_end(first)
    await lab.hears(first, "started", "finished")
    lab.may_end(second)
    await lab.hears(second, "queued", "started", "finished")
    assert lab.effects().count(first.execution_id) == 1
    assert lab.effects().count(second.execution_id) == 1


async def test_kills_at_any_moment_lose_nothing_and_do_nothing_twice(lab: Lab) -> None:
    (lab.place / "go-all").touch()
    runner = lab.start_runner()
    triggers: list[Trigger] = []

    def ended() -> int:
        return sum("finished" in lab.words(one) or "skipped" in lab.words(one) for one in triggers)

    for turn in range(6):
        for number in range(6):
            name, device = [("login", "stb-1"), ("zap", "stb-2"), ("soak", "stb-2")][number % 3]
            triggers.append(await lab.run(name, device_id=device, on_device_busy="queue"))

        async def has_heard_some(wanted: int = turn * 6 + turn) -> bool:
            return ended() >= wanted

        await until_async(has_heard_some, within=20, what=f"turn {turn}: {ended()} ended")
        runner.kill()
        runner = lab.start_runner()

    async def has_heard_all() -> bool:
        return ended() == len(triggers)

    await until_async(has_heard_all, within=30, what=f"{ended()} of {len(triggers)} ended")
    for trigger in triggers:
        words = [word for word in lab.words(trigger) if word != "queued"]
        assert words in (["started", "finished"], ["skipped"]), trigger
    ran = [one.execution_id for one in triggers if "finished" in lab.words(one)]
    assert sorted(lab.effects()) == sorted(ran)
    sequences = [one.sequence for one in lab.events if isinstance(one, ExecutionFact | CommandApplied)]
    assert sorted(sequences) == list(range(1, len(sequences) + 1))


async def test_what_ended_while_no_runner_was_there_is_picked_up(lab: Lab) -> None:
    runner = lab.start_runner()
    first = await lab.run("login")
    await lab.hears(first, "started", within=15)
    second = await lab.run("login")
    await lab.hears(second, "queued")
    runner.kill()
    lab.may_end(first)
    status = lab.place / "state" / "runs" / str(first.execution_id) / "status"
    await until_async(lambda: asyncio.to_thread(status.exists), within=10)
    while_away = await lab.run("login")
    lab.start_runner()
    finished = await lab.hears(first, "started", "finished", within=20)
    assert isinstance(finished, ExecutionFinished)
    assert finished.status is ExecutionStatus.COMPLETED
    await lab.hears(second, "queued", "started")
    await lab.hears(while_away, "queued")
    await until_async(lab.has_log(first), within=5)


async def test_commands_that_came_while_away_count_before_the_triggers(lab: Lab) -> None:
    runner = lab.start_runner()
    known = await lab.run("elsewhere", device_id="stb-2")
    await lab.hears(known, "started", within=15)
    runner.send(signal.SIGTERM)
    assert await asyncio.to_thread(runner.wait, 15) == 0
    fired = await lab.run("login")
    for version in range(2, 60):
        await lab.tell(fence("login", version, Reason.PAUSED).model_copy(update={"host": lab.host}))
    lab.start_runner()
    skipped = await lab.hears(fired, "skipped", within=20)
    assert isinstance(skipped, ExecutionSkipped)
    assert skipped.reason is Reason.PAUSED
    assert lab.effects() == [known.execution_id]


async def test_a_lost_connection_is_made_anew_and_what_happened_meanwhile_is_said(lab: Lab, rabbitmq: RabbitMQ) -> None:
    runner = lab.start_runner()
    first, second = await lab.run("login"), await lab.run("login")
    await lab.hears(second, "queued", within=15)
    hellos = sum(isinstance(one, HostHello) for one in lab.events)
    async with httpx.AsyncClient(base_url=rabbitmq.management_url) as management:

        async def connection() -> str | None:
            for one in (await management.get("/api/connections")).json():
                if one.get("client_properties", {}).get("connection_name") == f"host-runner {lab.host}":
                    return str(one["name"])
            return None

        name = await until_async(connection, within=20, what="the management API lists the connection")
        answer = await management.delete(f"/api/connections/{quote(str(name), safe='')}")
        assert answer.status_code == 204
    lab.may_end(first)
    await lab.hears(first, "started", "finished", within=20)
    await lab.hears(second, "queued", "started")
    third = await lab.run("login")
    await lab.hears(third, "queued")
    assert sum(isinstance(one, HostHello) for one in lab.events) > hellos
    assert runner.poll() is None
    lab.may_end(second)
    await lab.hears(second, "queued", "started", "finished")
    assert lab.effects()[:2] == [first.execution_id, second.execution_id]


async def test_a_redelivered_trigger_does_nothing(lab: Lab) -> None:
    lab.start_runner()
    first = await lab.run("login")
    lab.may_end(first)
    await lab.hears(first, "started", "finished", within=15)
    await lab.tell(first)
    barrier = await lab.run("login")
    lab.may_end(barrier)
    await lab.hears(barrier, "started", "finished")
    assert lab.words(first) == ["started", "finished"]
    assert lab.effects() == [first.execution_id, barrier.execution_id]


async def test_a_trigger_for_another_host_is_a_dead_letter(lab: Lab, rabbitmq: RabbitMQ) -> None:
    lab.start_runner()
    stray = lab.fire("login", host="lab-other")
    body = stray.model_dump_json().encode()
    connection = await connect(rabbitmq.amqp_url, name="test stray")
    async with closing(connection):
        channel = await connection.channel()
        await channel.default_exchange.publish(
            aio_pika.Message(body, type=stray.type, message_id="stray"), routing_key=triggers_queue(lab.host)
        )

        async def is_buried() -> bool:
            return (await depth(connection, "dead.letters"))[0] == 1

        await until_async(is_buried, within=15)
        async with channel_of(connection) as cleaner:
            await cleaner.queue_purge("dead.letters")
    barrier = await lab.run("login")
    await lab.hears(barrier, "started")
    assert lab.words(stray) == []


async def test_a_second_runner_is_refused(lab: Lab, rabbitmq: RabbitMQ) -> None:
    first = lab.start_runner()
    connection = await connect(rabbitmq.amqp_url, name="test ears")
    async with closing(connection):

        async def is_present() -> bool:
            return (await depth(connection, presence_queue(lab.host)))[1] == 1

        await until_async(is_present, within=15)
    same_folder, other_folder = lab.start_runner(), lab.start_runner("state-2")
    assert await asyncio.to_thread(same_folder.wait, 15) == 4
    assert "another runner" in same_folder.last_words()
    assert await asyncio.to_thread(other_folder.wait, 20) == 4
    assert "another runner" in other_folder.log.read_text()
    assert first.poll() is None


async def test_sigterm_leaves_the_script_to_the_next_start(lab: Lab) -> None:
    runner = lab.start_runner()
    first = await lab.run("login")
    await lab.hears(first, "started", within=15)
    runner.send(signal.SIGTERM)
    assert await asyncio.to_thread(runner.wait, 15) == 0
    lab.start_runner()
    lab.may_end(first)
    finished = await lab.hears(first, "started", "finished", within=20)
    assert isinstance(finished, ExecutionFinished)
    assert finished.status is ExecutionStatus.COMPLETED
    assert lab.effects() == [first.execution_id]
