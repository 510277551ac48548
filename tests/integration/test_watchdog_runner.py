"""A runner that the broker gives nothing any more: a proxy loses frames, the process ends, the next one admits.

And what looks alike ends nothing: a long run, a full slot, nothing to do, a process that stood still.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from libs.contracts import ExecutionFinished, ExecutionStatus
from libs.contracts.topology import commands_queue, presence_queue, triggers_queue
from libs.stack.rabbitmq import RabbitMQ
from tests.integration.test_host_runner import Lab, a_lab
from tests.support.amqp_proxy import AmqpProxy, a_proxy
from tests.support.wait import until_after_async
from tests.support.watchdog import LIMIT, Kept, Stopwatch, are_consumed, has_looked, kept, true

TO_BE_BACK = 30.0
"""Seconds; the broker may hold the presence of the runner that was before."""


@asynccontextmanager
async def a_kept_runner(place: Path, rabbitmq: RabbitMQ) -> AsyncIterator[tuple[Lab, AmqpProxy, Kept]]:
    """A runner that consumes through a proxy."""
    async with a_lab(place, rabbitmq) as lab, a_proxy(rabbitmq.amqp_url) as proxy:
        environment = lab.environment() | {"RIGBEAT_AMQP_URL": proxy.url, "RIGBEAT_WATCHDOG_SECONDS": str(LIMIT)}
        async with kept("runner", "services.host_runner", environment, place) as runner:
            await are_consumed(
                lab._connection, presence_queue(lab.host), commands_queue(lab.host), triggers_queue(lab.host)
            )
            yield lab, proxy, runner


async def test_a_runner_whose_channel_delivers_nothing_ends_and_the_next_one_runs_what_waited_once(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    async with a_kept_runner(tmp_path, rabbitmq) as (lab, proxy, runner):
        first = await lab.run("first")
        await lab.hears(first, "started")
        proxy.muted_channels.add(triggers_queue(lab.host))
        since = Stopwatch()
        second = await lab.run("second", device_id="stb-2")
        await runner.ended()
        since.says("a runner whose channel delivers nothing has ended")
        proxy.heal()
        await lab.hears(second, "started", within=TO_BE_BACK)
        since.says("the next one has started what waited")
        assert lab.words(first) == ["started"], "it ran on"
        for trigger in (first, second):
            lab.may_end(trigger)
            ending = await lab.hears(trigger, "started", "finished")
            assert isinstance(ending, ExecutionFinished)
            assert ending.status is ExecutionStatus.COMPLETED
        assert sorted(lab.effects()) == sorted([first.execution_id, second.execution_id])
        assert proxy.dropped > 0
        assert f"the consumer of {presence_queue(lab.host)} is silent: its channel delivers nothing" in (
            runner.log.read_text()
        )
        assert (runner.deaths, runner.silences()) == (1, 1)


async def test_a_runner_that_the_broker_does_not_know_ends_and_the_next_one_runs_what_waited_once(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    async with a_kept_runner(tmp_path, rabbitmq) as (lab, proxy, runner):
        first = await lab.run("first")
        await lab.hears(first, "started")
        proxy.forged.add(triggers_queue(lab.host))
        proxy.cut()  # as a restart of the broker does
        await true(lambda: proxy.forgeries > 0, within=TO_BE_BACK, what="it believes that it consumes")
        since = Stopwatch()
        second = await lab.run("second", device_id="stb-2")
        await runner.ended()
        since.says("a runner that the broker does not know has ended")
        proxy.heal()
        await lab.hears(second, "started", within=TO_BE_BACK)
        since.says("the next one has started what waited")
        for trigger in (first, second):
            lab.may_end(trigger)
            await lab.hears(trigger, "started", "finished")
        assert sorted(lab.effects()) == sorted([first.execution_id, second.execution_id])
        assert f"the consumer of {triggers_queue(lab.host)} is silent: the broker knows no consumer of the queue" in (
            runner.log.read_text()
        )


async def test_nothing_to_do_a_long_run_a_full_slot_and_a_process_that_stood_still_end_nothing(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    async with a_kept_runner(tmp_path, rabbitmq) as (lab, proxy, runner):
        await has_looked(proxy, 1.5)
        assert runner.is_well(), "idle"

        running, waiting, refused = [await lab.run("long") for _ in range(3)]
        await lab.hears(running, "started")
        await lab.hears(waiting, "queued")
        await lab.hears(refused, "skipped")
        await has_looked(proxy, 1.5)
        assert runner.is_well(), "it runs for long, and the slot is full"

        # One trigger is on its way to it, and it may have no more than one: the others wait in the queue.
        runner.child.send(signal.SIGSTOP)
        late = [await lab.run("long") for _ in range(5)]
        await until_after_async(1.5 * LIMIT)
        runner.child.send(signal.SIGCONT)
        for trigger in late:
            await lab.hears(trigger, "skipped")
        await has_looked(proxy, 1)
        assert runner.is_well(), "it did not get to run"

        for trigger, words in ((running, ("started",)), (waiting, ("queued", "started"))):
            lab.may_end(trigger)
            await lab.hears(trigger, *words, "finished")
        assert lab.effects() == [running.execution_id, waiting.execution_id]


async def test_a_broker_that_takes_nothing_from_publishers_ends_no_runner(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    async with a_kept_runner(tmp_path, rabbitmq) as (lab, proxy, runner):
        # As with an alarm of its memory or disk: it delivers, and reads neither echoes nor acknowledgements.
        proxy.holds_back = True
        first, second = [await lab.run(name, device_id=device) for name, device in (("a", "stb-1"), ("b", "stb-2"))]
        await true(lambda: lab.effects() == [first.execution_id], within=10, what="what it was given it does")
        await until_after_async(2.5 * LIMIT)
        assert runner.is_well()
        proxy.holds_back = False
        for trigger in (first, second):
            lab.may_end(trigger)
            await lab.hears(trigger, "started", "finished", within=20)
        await has_looked(proxy, 1)
        assert runner.is_well()
        assert sorted(lab.effects()) == sorted([first.execution_id, second.execution_id])
