"""Catch-up `all` on a real ledger: one row each at once, one run after the other, nothing sent before its turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import DeploymentStatus, ExecutionStatus, Kind, Reason
from libs.ledger import channels, pausing
from libs.ledger.listener import Listener
from libs.ledger.pool import create_pool
from services.scheduler.claim import Claimer
from services.scheduler.release import release
from services.scheduler.statements import STATEMENTS
from tests.support.faithful_host import FaithfulHost, a_faithful_host
from tests.support.ledger import shift_now
from tests.support.scheduling import Bench
from tests.support.wait import until_async


@pytest.fixture
async def host(bench: Bench) -> AsyncIterator[FaithfulHost]:
    async with a_faithful_host(bench.database) as host:
        yield host


def deploy(bench: Bench, *, due: str = "4 minutes", **columns: Any) -> UUID:
    return bench.deploy("d", due=due, catch_up="all", **({"catch_up_window_seconds": 3600} | columns))


def held(bench: Bench) -> int:
    return int(bench.one("SELECT count(*) FROM deployment_executions WHERE held"))


def rows(bench: Bench) -> list[str]:
    found = bench.database.execute("SELECT status, reason, held FROM deployment_executions ORDER BY id")
    return [reason or ("held" if is_held else status) for status, reason, is_held in found]


def clock(bench: Bench) -> datetime:
    now: datetime = bench.one("SELECT ledger.now()")
    return now.astimezone(UTC)


async def test_each_gets_its_row_at_once_and_is_sent_when_the_one_before_it_has_ended(
    bench: Bench, host: FaithfulHost
) -> None:
    deploy(bench)
    await bench.claimer().claim()
    assert rows(bench) == ["held"] * 5
    assert bench.one("SELECT bool_and(not_after IS NULL) FROM deployment_executions")
    assert await host.take() == []
    shift_now(bench.database, 1000)  # what is held does not grow old
    bench.database.execute("UPDATE deployments SET version = 7")
    scheduled = []
    for number in range(5):
        assert await release(bench.pool) == 1
        assert await release(bench.pool) == 0, "the one before it has not ended"
        [trigger] = await host.take()
        scheduled.append(trigger.scheduled_at)
        assert (trigger.version, trigger.kind) == (7, Kind.CRON if number == 4 else Kind.CATCH_UP)
        window = trigger.not_after - clock(bench)
        assert timedelta(minutes=59) < window <= timedelta(hours=1), "the window counts from the release"
        assert bench.one("SELECT not_after FROM deployment_executions WHERE id = %s", trigger.execution_id) == (
            trigger.not_after
        )
        await host.say(host.started(trigger, clock(bench)))
        assert await release(bench.pool) == 0, "it runs"
        status = ExecutionStatus.FAILED if number == 2 else ExecutionStatus.COMPLETED
        await host.say(host.finished(trigger, clock(bench), status, seconds=0))
    assert scheduled == sorted(scheduled)
    assert rows(bench) == ["completed", "completed", "failed", "completed", "completed"]
    assert bench.one("SELECT execution_count FROM deployments") == 5


async def test_two_schedulers_release_one_and_the_same(bench: Bench, host: FaithfulHost) -> None:
    for number in range(20):
        bench.deploy(f"d{number}", due="3 minutes", catch_up="all")
    await bench.claimer().claim()
    assert held(bench) == 80
    for left in (60, 40):
        assert sum(await asyncio.gather(*(release(bench.pool) for _ in range(4)))) == 20
        triggers = await host.take()
        assert len({trigger.deployment_id for trigger in triggers}) == 20
        assert held(bench) == left
        await host.say(*(host.finished(trigger, clock(bench), seconds=0) for trigger in triggers))


async def test_a_scheduler_whose_look_is_older_than_the_lock_looks_again(bench: Bench) -> None:
    """The first statement's snapshot may not show yet what another has sent since: the second one must see it."""
    deployment = deploy(bench)
    await bench.claimer().claim()
    async with bench.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM deployments WHERE id = $1 FOR NO KEY UPDATE", deployment)
        assert await release(bench.pool) == 0, "somebody else has it"
    assert await release(bench.pool) == 1
    later = [clock(bench) + timedelta(hours=1)]
    assert await bench.pool.fetch(STATEMENTS.release, [deployment], later) == []
    assert held(bench) == 4


async def test_nothing_is_released_while_it_is_paused_or_firing_is_held_but_after_it_expired(
    bench: Bench, host: FaithfulHost
) -> None:
    deploy(bench, end_date=clock(bench) - timedelta(seconds=1))
    await bench.claimer().claim()
    assert bench.one("SELECT status FROM deployments") == "expired"
    bench.database.execute("UPDATE epoch SET firing = false")
    assert await release(bench.pool) == 0
    bench.database.execute("UPDATE epoch SET firing = true")
    bench.database.execute("UPDATE deployments SET status = 'paused'")
    assert await release(bench.pool) == 0
    bench.database.execute("UPDATE deployments SET status = 'expired'")
    assert await release(bench.pool) == 1
    assert len(await host.take()) == 1


async def test_the_sweeps_leave_alone_what_is_held(bench: Bench) -> None:
    deploy(bench)
    await bench.claimer().claim()
    shift_now(bench.database, 86_400)
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    bench.database.execute("UPDATE liveness SET at = ledger.now()")
    sweeper = bench.sweeper()
    await sweeper.sweep()
    sweeper._clocks = None
    await sweeper.sweep()
    assert rows(bench) == ["held"] * 5


@pytest.mark.parametrize("role", ["api_url", "scheduler_url"])
async def test_what_is_held_ends_with_a_reason_when_it_may_not_run_any_more(bench: Bench, role: str) -> None:
    deployment = deploy(bench)
    await bench.claimer().claim()
    bench.database.execute("DELETE FROM change_feed")
    pool = await create_pool(getattr(bench.database, role), application="test", most=1)
    try:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('rigbeat.team_id', $1, true)", str(bench.team))
            ended = await pausing.drop_held(connection, [deployment], Reason.STOPPED, clock(bench))
            assert await pausing.drop_held(connection, [deployment], Reason.PAUSED, clock(bench)) == []
    finally:
        pool.terminate()
    assert ended == [row[0] for row in bench.database.execute("SELECT id FROM deployment_executions ORDER BY id")]
    assert rows(bench) == ["stopped"] * 5
    sentences = "SELECT DISTINCT skip_reason FROM deployment_executions WHERE completed_at IS NOT NULL"
    assert bench.one(sentences) == "The deployment was stopped"
    assert bench.one("SELECT count(*) FROM change_feed WHERE kind = 'execution'") == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("status = 'stopped'", "stopped"),
        ("status = 'stopped', deleted_at = ledger.now()", "deleted"),
        ("execution_count = 3, max_executions = 3", "limit_reached"),
    ],
)
async def test_what_may_never_run_is_not_left_behind(bench: Bench, change: str, reason: str) -> None:
    deploy(bench)
    await bench.claimer().claim()
    bench.database.execute(f"UPDATE deployments SET {change}")
    assert await release(bench.pool) == 1
    assert rows(bench) == [reason] * 5


async def test_the_limit_counts_what_is_held_and_completes_exactly(bench: Bench, host: FaithfulHost) -> None:
    deploy(bench, max_executions=3)
    await bench.claimer().claim()
    assert rows(bench) == ["held"] * 3 + ["limit_in_flight"] * 2
    [body] = bench.database.execute("SELECT body FROM outbox WHERE type = 'command.notice.v1'")
    assert "2 fires" in json.loads(body[0])["message"], "one notice for all of them"
    while await release(bench.pool):
        [trigger] = await host.take()
        await host.say(host.finished(trigger, clock(bench), seconds=0))
    assert rows(bench) == ["completed"] * 3 + ["limit_in_flight"] * 2
    assert bench.database.execute("SELECT status, execution_count FROM deployments") == [
        (DeploymentStatus.COMPLETED, 3)
    ]


async def test_a_host_that_ran_one_before_the_ledger_was_restored_has_its_word(
    bench: Bench, host: FaithfulHost
) -> None:
    deploy(bench)
    await bench.claimer().claim()
    await release(bench.pool)
    [trigger] = await host.take()
    bench.database.execute("UPDATE deployment_executions SET held = true, not_after = NULL")
    await host.say(host.finished(trigger, clock(bench), seconds=0))
    assert rows(bench) == ["completed"] + ["held"] * 4


async def test_the_next_starts_within_a_second_of_the_end_of_the_one_before_it(
    bench: Bench, host: FaithfulHost
) -> None:
    minute = (clock(bench) - timedelta(minutes=2)).minute
    bench.deploy("hourly", f"{minute} * * * *", due="122 minutes", catch_up="all", catch_up_window_seconds=10_800)
    wake = asyncio.Event()
    claimer = Claimer(bench.pool, batch=10, wake=wake)
    listening = asyncio.Event()
    listener = Listener(
        bench.database.scheduler_url,
        {channels.DUE: lambda _: wake.set()},
        application="test",
        on_listening=listening.set,
    )
    await listener.start()
    await asyncio.wait_for(listening.wait(), 10)  # it has only begun to connect
    await claimer.start()
    try:
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            [trigger] = await until_async(host.take, within=5)
            await host.say(host.finished(trigger, clock(bench), seconds=0))
        took = asyncio.get_running_loop().time() - began
        await until_async(lambda: _none_open(bench), within=5)
    finally:
        await claimer.stop(5)
        await listener.stop(5)
    assert took < 4, "woken, not found by the look that comes every five seconds"


async def _none_open(bench: Bench) -> bool:
    return set(rows(bench)) == {"completed"}
