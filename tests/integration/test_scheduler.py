"""The scheduler against a real ledger and a real broker, its parts called one step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libs.chassis.amqp.connection import connect
from libs.chassis.amqp.declare import declare, depth
from libs.contracts import Trigger, decode, topology
from libs.ledger.pool import create_pool
from services.scheduler.claim import Claimer
from services.scheduler.drain import Drain
from tests.support.broker import read, read_one
from tests.support.ledger import shift_now
from tests.support.scheduling import Bench
from tests.support.wait import until_async


async def test_a_due_fire_leaves_its_row_its_message_and_the_next_due_time(bench: Bench) -> None:
    deployment = bench.deploy("d")
    assert await bench.claimer().claim() == 1
    assert bench.rows(deployment) == [("triggered", None, "cron")]
    assert bench.one("SELECT next_fire_at > ledger.now() AND next_due_at = next_fire_at FROM deployments")
    [(message_id, execution, body)] = bench.database.execute("SELECT message_id, execution_id, body FROM outbox")
    trigger = decode("trigger.v1", body.encode())
    assert isinstance(trigger, Trigger)
    assert (message_id, execution) == (trigger.execution_id, trigger.execution_id)
    assert trigger.execution_id == bench.one("SELECT id FROM deployment_executions")
    assert (trigger.not_after - trigger.scheduled_at).total_seconds() == 600
    assert await bench.claimer().claim() == 0
    kinds = bench.database.execute("SELECT DISTINCT kind FROM change_feed ORDER BY 1")
    assert kinds == [("deployment",), ("execution",)]


async def test_two_schedulers_share_the_work_and_fire_nothing_twice(bench: Bench) -> None:
    for number in range(200):
        bench.deploy(f"d{number}")
    claimers = [bench.claimer(batch=20) for _ in range(3)]

    async def work(claimer: Claimer) -> int:
        total = 0
        while claimed := await claimer.claim():
            total += claimed
        return total

    shares = await asyncio.gather(*(work(claimer) for claimer in claimers))
    assert sum(shares) == 200
    assert bench.one("SELECT count(*) FROM deployment_executions") == 200
    assert bench.one("SELECT count(DISTINCT deployment_id) FROM deployment_executions") == 200


async def test_a_row_that_an_edit_holds_is_left_and_taken_later(bench: Bench) -> None:
    held = bench.deploy("held")
    bench.deploy("free")
    async with bench.pool.acquire() as editor, editor.transaction():
        await editor.execute("SELECT FROM deployments WHERE id = $1 FOR NO KEY UPDATE", held)
        assert await bench.claimer().claim() == 1
        assert bench.rows(held) == []
    assert await bench.claimer().claim() == 1
    assert len(bench.rows(held)) == 1


async def test_a_foreign_key_check_hides_no_row(bench: Bench) -> None:
    deployment = bench.deploy("d")
    async with bench.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM deployments WHERE id = $1 FOR KEY SHARE", deployment)
        assert await bench.claimer().claim() == 1


async def test_nothing_fires_while_firing_is_held(bench: Bench) -> None:
    deployment = bench.deploy("d")
    bench.database.execute("UPDATE epoch SET firing = false")
    assert await bench.claimer().claim() == 0
    assert bench.rows(deployment) == []


async def test_the_limit_counts_what_is_still_under_way(bench: Bench) -> None:
    deployment = bench.deploy("d", max_executions=2, execution_count=1)
    await bench.claimer().claim()
    shift_now(bench.database, 61)
    await bench.claimer().claim()
    assert bench.rows(deployment) == [("triggered", None, "cron"), ("skipped", "limit_in_flight", "cron")]
    bench.database.execute("UPDATE deployment_executions SET status = 'completed' WHERE status = 'triggered'")
    bench.database.execute("UPDATE deployments SET execution_count = 2")
    shift_now(bench.database, 122)
    await bench.claimer().claim()
    assert bench.rows(deployment)[2:] == [("skipped", "limit_reached", "cron")], "it was active until now: no silence"
    status = bench.database.execute("SELECT status, status_reason, version, next_due_at FROM deployments")
    assert status == [("completed", "The limit of executions was reached", 2, None)]
    assert bench.one("SELECT status FROM deployment_versions WHERE version = 2") == "completed"


async def test_it_expires_at_the_end_date_itself_not_at_the_next_fire(bench: Bench) -> None:
    deployment = bench.deploy("d", cron="0 0 1 1 *", due="-1 hour")
    bench.database.execute(
        "UPDATE deployments SET next_fire_at = NULL, end_date = ledger.now() - interval '1 second',"
        " next_due_at = ledger.now() - interval '1 second'"
    )
    assert await bench.claimer().claim() == 1
    assert bench.one("SELECT status FROM deployments") == "expired"
    assert bench.rows(deployment) == []


@pytest.mark.parametrize(
    ("catch_up", "last"), [("latest", ("triggered", None, "cron")), ("none", ("triggered", None, "cron"))]
)
async def test_what_was_due_while_no_scheduler_was_there_is_missed_but_the_newest(
    bench: Bench, catch_up: str, last: tuple[Any, ...]
) -> None:
    deployment = bench.deploy("d", due="5 minutes", catch_up=catch_up)
    await bench.claimer().claim()
    rows = bench.rows(deployment)
    assert rows[-1] == last
    assert rows[:-1] == [("skipped", "missed", "cron")] * 5
    [(sentence,)] = bench.database.execute(
        "SELECT skip_reason FROM deployment_executions WHERE status = 'skipped' ORDER BY id LIMIT 1"
    )
    assert sentence.startswith("Missed: due at 20")
    assert catch_up in sentence


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("latest", ("triggered", None, "catch_up")), ("none", ("skipped", "missed", "cron"))],
)
async def test_a_fire_that_is_minutes_late_is_caught_up_or_missed_by_its_policy(
    bench: Bench, catch_up: str, expected: tuple[Any, ...]
) -> None:
    minute = bench.one("SELECT extract(minute FROM ledger.now() - interval '4 minutes')::integer")
    deployment = bench.deploy("d", cron=f"{minute} * * * *", due="4 minutes", catch_up=catch_up)
    await bench.claimer().claim()
    assert bench.rows(deployment) == [expected]


async def test_two_days_away_fire_at_once_and_are_written_down_in_steps(bench: Bench) -> None:
    deployment = bench.deploy("d", due="2 days")
    claimer = bench.claimer()
    await claimer.claim()
    assert bench.rows(deployment) == [("triggered", None, "cron")], "the current fire goes first"
    steps = 0
    while await claimer.write_missed():
        steps += 1
    rows = bench.rows(deployment)
    assert len(rows) == 2 * 1440 + 1
    assert set(rows[:-1]) == {("skipped", "missed", "cron")}
    assert steps == 6
    assert bench.one("SELECT count(*) FROM backlogs") == 0


async def test_a_fire_that_has_its_row_is_not_sent_again(bench: Bench) -> None:
    deployment = bench.deploy("d")
    await bench.claimer().claim()
    bench.database.execute("DELETE FROM outbox")
    bench.database.execute(
        "UPDATE deployments SET next_fire_at = (SELECT scheduled_at FROM deployment_executions), next_due_at = now()"
    )
    assert await bench.claimer().claim() == 1
    assert len(bench.rows(deployment)) == 1
    assert bench.one("SELECT count(*) FROM outbox") == 0


@asynccontextmanager
async def draining(bench: Bench, url: str) -> AsyncIterator[Drain]:
    drain = Drain(bench.pool, url, batch=100, confirm_seconds=30, undeliverable_seconds=0.5, wake=asyncio.Event())
    await drain.start()
    try:
        yield drain
    finally:
        await drain.stop(within=10)


async def test_the_outbox_reaches_the_hosts_queue_in_order_and_is_marked(bench: Bench, rabbitmq: Any) -> None:
    ids = [bench.deploy(f"d{number}") for number in range(5)]
    assert await bench.claimer().claim() == len(ids)
    for where in (topology.central(), topology.of_host("lab-1")):
        connection = await connect(rabbitmq.amqp_url, name="test")
        await declare(connection, where.exchanges, where.queues, where.bindings)
        await connection.close()
    queue = topology.triggers_queue("lab-1")
    async with draining(bench, rabbitmq.amqp_url):
        await until_async(
            lambda: bench.pool.fetchval("SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"), within=10
        )
    wanted = [row[0] for row in bench.database.execute("SELECT body FROM outbox ORDER BY id")]
    connection = await connect(rabbitmq.amqp_url, name="test")
    try:
        got = await read(connection, queue, len(ids))
        assert [message.body.decode() for message in got] == wanted
        assert {message.type for message in got} == {"trigger.v1"}
        assert all(0 < float(message.expiration_ms or 0) <= 600_000 for message in got)
        assert all(message.delivery_mode == 2 for message in got)
        assert (await depth(connection, queue))[0] == 0
    finally:
        await connection.close()
    assert bench.one("SELECT count(*) FROM deployment_executions WHERE published_at IS NULL") == 0


async def test_what_no_queue_wants_goes_to_the_dead_letters(bench: Bench, rabbitmq: Any) -> None:
    bench.database.host("nowhere", bench.team, ["stb-1"])
    bench.deploy("d", host_name="nowhere")
    await bench.claimer().claim()
    connection = await connect(rabbitmq.amqp_url, name="test")
    try:
        central = topology.central()
        await declare(connection, central.exchanges, central.queues, central.bindings)
        async with draining(bench, rabbitmq.amqp_url):
            dead = await read_one(connection, topology.DEAD_LETTERS, within=10)
        assert dead.headers["x-dead-reason"] == "undeliverable"
        assert bench.one("SELECT published_at IS NOT NULL FROM outbox")
    finally:
        await connection.close()


async def test_what_got_late_before_the_broker_took_it_is_presumed_missed_and_asked_about(bench: Bench) -> None:
    deployment = bench.deploy("d")
    await bench.claimer().claim()
    shift_now(bench.database, 700)
    await bench.sweeper().sweep()
    assert bench.rows(deployment)[0] == ("skipped", "missed", "cron")
    assert bench.one("SELECT presumed FROM deployment_executions")
    [(kind, published)] = bench.database.execute("SELECT type, published_at FROM outbox WHERE type <> 'trigger.v1'")
    assert (kind, published) == ("command.void.v1", None)
    assert bench.one("SELECT result FROM outbox WHERE type = 'trigger.v1'") == "late"


async def test_a_trigger_that_its_online_host_did_not_take_is_sent_again(bench: Bench) -> None:
    bench.deploy("d")
    await bench.claimer().claim()
    bench.database.execute("UPDATE outbox SET published_at = ledger.now() - interval '61 seconds'")
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 hour'")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NOT NULL FROM outbox"), "its host is offline: the broker keeps it"
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NULL FROM outbox")


async def test_a_run_of_a_silent_host_is_given_up_only_after_its_time_limit_and_keeps_its_place(bench: Bench) -> None:
    deployment = bench.deploy("d", timeout_seconds=60, max_executions=1)
    await bench.claimer().claim()
    bench.database.execute("UPDATE deployment_executions SET status = 'running', started_at = ledger.now()")
    sweeper = bench.sweeper()

    def aged(seconds: float) -> None:
        shift_now(bench.database, seconds)
        bench.database.execute("UPDATE liveness SET at = ledger.now()")
        sweeper._clocks = None

    aged(300)
    sweeper._settings = sweeper._settings.model_copy(update={"offline_seconds": 0.0})
    await sweeper.sweep()
    assert bench.rows(deployment)[0][0] == "running", "60 s and a margin of 300 s have not passed"
    aged(400)
    sweeper._settings = sweeper._settings.model_copy(update={"offline_seconds": 0.0})
    bench.database.execute("UPDATE liveness SET at = ledger.now() + interval '1 second'")
    await sweeper.sweep()
    assert bench.rows(deployment)[0] == ("failed", "host_lost", "cron")
    assert bench.one("SELECT presumed FROM deployment_executions")
    assert bench.one("SELECT count(*) FROM outbox WHERE type = 'command.resend.v1'") == 0, "nobody is there to be asked"
    await bench.claimer().claim()
    assert bench.rows(deployment)[-1] == ("skipped", "limit_in_flight", "cron"), "the host may still report it"
    assert bench.database.execute("SELECT execution_count, status FROM deployments") == [(0, "active")]


async def test_a_run_whose_end_was_lost_with_the_broker_is_given_up_and_its_host_asked(bench: Bench) -> None:
    deployment = bench.deploy("d", timeout_seconds=60)
    await bench.claimer().claim()
    bench.database.execute("UPDATE deployment_executions SET status = 'running', started_at = ledger.now()")
    sweeper = bench.sweeper()
    sweeper._settings = sweeper._settings.model_copy(update={"offline_seconds": 0.0})
    shift_now(bench.database, 400)
    bench.database.execute("UPDATE liveness SET at = ledger.now() + interval '1 minute'")
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now() + interval '1 minute'")
    await sweeper.sweep()
    assert bench.rows(deployment)[0] == ("failed", "host_lost", "cron")
    assert bench.one("SELECT count(*) FROM outbox WHERE type = 'command.resend.v1'") == 1


async def test_a_paused_deployment_expires_at_its_end_date(bench: Bench) -> None:
    deployment = bench.deploy("d", status="paused")
    bench.database.execute(
        "UPDATE deployments SET next_fire_at = NULL, end_date = ledger.now() + interval '1 minute',"
        " next_due_at = ledger.now() + interval '1 minute'"
    )
    assert await bench.claimer().claim() == 0
    shift_now(bench.database, 61)
    assert await bench.claimer().claim() == 1
    assert bench.one("SELECT status FROM deployments") == "expired"
    assert bench.rows(deployment) == []


async def test_the_drain_and_the_ingest_lock_executions_in_the_same_order(bench: Bench, rabbitmq: Any) -> None:
    """Facts of a batch come back while the batch still waits for its confirms: that must not end in a deadlock."""
    for number in range(300):
        bench.deploy(f"d{number}")
    await bench.claimer().claim()
    ingest = await create_pool(bench.database.ingest_url, application="test-ingest", most=1)
    connection = await connect(rabbitmq.amqp_url, name="test")
    try:
        for where in (topology.central(), topology.of_host("lab-1")):
            await declare(connection, where.exchanges, where.queues, where.bindings)

        async def fold() -> None:
            """Lock and write all rows in id order, as a fold does, for as long as the drain works."""
            while await bench.pool.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)"):
                async with ingest.acquire() as one, one.transaction():
                    for (identity,) in bench.database.execute("SELECT id FROM deployment_executions ORDER BY id"):
                        await one.execute(
                            "UPDATE deployment_executions SET log_bytes = log_bytes + 1 WHERE id = $1", identity
                        )

        async with draining(bench, rabbitmq.amqp_url):
            await asyncio.wait_for(fold(), 60)
    finally:
        await connection.close()
        ingest.terminate()
    assert bench.one("SELECT max(attempts) FROM outbox") == 1, "no batch had to be sent again"


async def test_a_trigger_that_nobody_ever_spoke_of_ends_well_after_its_window(bench: Bench) -> None:
    """The host is online, but lost the disk that had it."""
    deployment = bench.deploy("d")
    await bench.claimer().claim()
    bench.database.execute("UPDATE outbox SET published_at = ledger.now()")
    sweeper = bench.sweeper()
    sweeper._settings = sweeper._settings.model_copy(update={"offline_seconds": 0.0})
    for ahead, wanted in ((600 + 200, "triggered"), (600 + 60 + 310, "skipped")):
        shift_now(bench.database, ahead)
        bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now() + interval '1 minute'")
        bench.database.execute("UPDATE liveness SET at = ledger.now() + interval '1 minute'")
        await sweeper.sweep()
        assert bench.rows(deployment)[0][0] == wanted
    assert bench.one("SELECT count(*) FROM outbox WHERE type = 'command.void.v1'") == 1


async def test_after_a_jump_of_the_clock_nobody_is_given_up(bench: Bench) -> None:
    deployment = bench.deploy("d", timeout_seconds=60)
    await bench.claimer().claim()
    bench.database.execute("UPDATE deployment_executions SET status = 'running', started_at = ledger.now()")
    sweeper = bench.sweeper()
    await sweeper.sweep()
    shift_now(bench.database, 7200)
    bench.database.execute("UPDATE liveness SET at = ledger.now()")
    await sweeper.sweep()
    await sweeper.sweep()
    assert bench.rows(deployment)[0][0] == "running"


async def test_housekeeping_forgets_what_was_sent_long_ago_and_keeps_what_is_open(bench: Bench) -> None:
    bench.deploy("done")
    bench.deploy("open")
    await bench.claimer().claim()
    bench.database.execute("UPDATE outbox SET published_at = ledger.now() - interval '2 days'")
    bench.database.execute(
        "UPDATE deployment_executions SET status = 'completed' WHERE deployment_id IN"
        " (SELECT id FROM deployments WHERE name = 'done')"
    )
    bench.database.execute("UPDATE change_feed SET at = ledger.now() - interval '2 days'")
    await bench.sweeper().keep_house()
    [(name,)] = bench.database.execute(
        "SELECT d.name FROM outbox o JOIN deployment_executions e ON e.id = o.execution_id"
        " JOIN deployments d ON d.id = e.deployment_id"
    )
    assert name == "open"
    assert bench.one("SELECT count(*) FROM change_feed") == 0
