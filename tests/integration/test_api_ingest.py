"""The ingest against a real broker and a real ledger, as its own role: what hosts say, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg
import psycopg
import pytest
from prometheus_client import REGISTRY

from libs.chassis.amqp.channel import channel_of
from libs.chassis.amqp.declare import depth
from libs.chassis.amqp.message import Incoming, Outgoing
from libs.chassis.errors import ConsumerCancelled
from libs.contracts import (
    CommandResult,
    DeviceChanged,
    DeviceState,
    ExecutionStatus,
    HostEvent,
    Reason,
    Sync,
    Void,
    decode,
    topology,
)
from libs.ledger import channels
from libs.ledger.pool import connect as connect_ledger
from libs.stack.process import start
from libs.stack.rabbitmq import RabbitMQ
from services.api.ingest.caught_up import CaughtUp
from services.api.ingest.presence import OFFLINE_SECONDS
from services.api.ingest.results import Results, Told, blames_message
from services.api.ingest.silence import Silence
from tests.support.ingest import (
    JOURNAL,
    NOW,
    Lab,
    Word,
    a_lab,
    fresh_id,
    heartbeat,
    hello,
    ingesting,
    trigger_message,
    voided,
)
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def lab(rabbitmq: RabbitMQ, ledger_database: LedgerDatabase) -> AsyncIterator[Lab]:
    async with a_lab(rabbitmq, ledger_database) as made:
        yield made


async def everything_said(lab: Lab) -> None:
    """Wait until all that was published before is folded: a run of another deployment, told last, has ended."""
    deployment = lab.deploy(f"barrier {fresh_id()}")
    execution = lab.trigger(deployment)
    await lab.tell(Word(execution, deployment).finished())
    await lab.row_is(execution, "completed", None, False)


async def test_a_run_is_folded_and_counted(lab: Lab) -> None:
    deployment = lab.deploy("d")
    execution, result = lab.trigger(deployment), fresh_id()
    word = Word(execution, deployment)
    async with ingesting(lab):
        await lab.tell(word.queued())
        await lab.row_is(execution, "queued", "device_busy", False)
        await lab.tell(word.started())
        await lab.row_is(execution, "running", None, False)
        assert lab.one("SELECT execution_count FROM deployments") == 0
        await lab.tell(
            word.finished(success=True, exit_code=0, log_bytes=7, script_result_id=result, clock_offset_seconds=-1)
        )
        await lab.row_is(execution, "completed", None, False)
    assert lab.row(execution, "success", "exit_code", "log_bytes", "script_result_id") == (True, 0, 7, result)
    assert lab.row(execution, "queued_at", "started_at", "completed_at") == tuple(
        NOW + timedelta(seconds=seconds) for seconds in (2, 2, 8)
    )
    assert (
        lab.one("SELECT execution_id FROM script_results WHERE id = %s AND team_id = %s", result, lab.team) == execution
    )
    assert lab.database.execute("SELECT execution_count, last_executed_at FROM deployments") == [
        (1, NOW + timedelta(seconds=8))
    ]
    told = {tuple(row) for row in lab.database.execute("SELECT kind, resource_id, team_id FROM change_feed")}
    assert told == {("execution", str(execution), lab.team), ("deployment", str(deployment), lab.team)}


async def test_repeated_and_reordered_batches_change_nothing(lab: Lab) -> None:
    deployment = lab.deploy("d", limit=100)
    words: list[list[HostEvent]] = []
    for kind in range(40):
        word = Word(lab.trigger(deployment), deployment)
        match kind % 4:
            case 0:
                words.append([word.queued(), word.started(), word.finished()])
            case 1:
                words.append([word.started(), word.finished(ExecutionStatus.FAILED, reason=Reason.EXIT_CODE)])
            case 2:
                words.append([word.queued(), word.skipped(Reason.PAUSED)])
            case _:
                words.append([word.queued(), word.finished(ExecutionStatus.CANCELLED, did_start=False)])
    in_order = [event for word in words for event in word]
    shuffled = in_order * 2
    random.Random(4).shuffle(shuffled)
    everything = (
        "SELECT md5(string_agg(d::text, ';' ORDER BY id)) FROM deployment_executions d WHERE deployment_id = %s",
        "SELECT d::text FROM deployments d WHERE id = %s",
    )
    async with ingesting(lab):
        await lab.tell(*in_order)
        await everything_said(lab)
        once = [lab.one(query, deployment) for query in everything]
        counts = lab.database.execute(
            "SELECT status, count(*) FROM deployment_executions WHERE deployment_id = %s GROUP BY 1 ORDER BY 1",
            (deployment,),
        )
        assert counts == [("cancelled", 10), ("completed", 10), ("failed", 10), ("skipped", 10)]
        assert lab.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 20
        feed = lab.one("SELECT count(*) FROM change_feed WHERE resource_id = %s", str(deployment))
        await lab.tell(*in_order)
        await lab.tell(*shuffled)
        await everything_said(lab)
        assert [lab.one(query, deployment) for query in everything] == once
        assert lab.one("SELECT count(*) FROM change_feed WHERE resource_id = %s", str(deployment)) == feed
    assert (await depth(lab.connection, topology.DEAD_LETTERS))[0] == 0


async def test_any_order_of_first_arrival_ends_alike(lab: Lab) -> None:
    deployment = lab.deploy("d")
    executions = [lab.trigger(deployment) for _ in range(6)]
    async with ingesting(lab):
        for number, execution in enumerate(executions):
            word = Word(execution, deployment)
            told = [word.queued(), word.started(), word.finished()]
            random.Random(number).shuffle(told)
            for event in told:  # a batch each, or several in one, as it comes
                await lab.tell(event)
        await everything_said(lab)
    columns = ("status", "queued_at", "started_at", "completed_at", "reason")
    assert {lab.row(execution, *columns) for execution in executions} == {
        ("completed", *(NOW + timedelta(seconds=seconds) for seconds in (2, 3, 9)), None)
    }
    assert lab.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 6


async def test_two_workers_with_the_same_batch_count_once(lab: Lab) -> None:
    """Single-active gives order, not exclusion: an old worker may still commit what a new one has been given again."""
    deployments = [lab.deploy(f"d{number}", limit=20) for number in range(5)]
    words = [Word(lab.trigger(deployment), deployment) for deployment in deployments for _ in range(20)]
    told = [Told(_delivery(event), event) for word in words for event in (word.started(), word.finished())]
    workers = [Results(lab.pool, lab.amqp_url) for _ in range(3)]
    batches = [told[start : start + 50] for start in range(0, len(told), 50)]
    for batch in batches:
        unusable = await asyncio.gather(
            workers[0]._take_in(batch), workers[1]._take_in(batch[::-1]), workers[2]._take_in(batch)
        )
        assert not any(unusable)
    assert lab.database.execute("SELECT DISTINCT status, execution_count, version FROM deployments") == [
        ("completed", 20, 2)
    ]
    assert lab.one("SELECT count(*) FROM deployment_executions WHERE status = 'completed' AND NOT presumed") == 100


async def test_the_limit_completes_the_deployment_exactly(lab: Lab) -> None:
    deployment = lab.deploy("d", limit=3, next_fire_at=NOW + timedelta(days=1), next_due_at=NOW + timedelta(days=1))
    words = [Word(lab.trigger(deployment), deployment) for _ in range(4)]
    state = ("SELECT status || ' ' || version || ' ' || execution_count FROM deployments WHERE id = %s", deployment)
    async with ingesting(lab):
        await lab.tell(words[0].finished(), words[1].skipped(), words[1].skipped())
        await lab.value_is("active 1 1", *state)
        await lab.tell(words[2].finished(), words[0].finished())
        await lab.value_is("active 1 2", *state)
        await lab.tell(words[3].finished(ExecutionStatus.FAILED, did_start=False, reason=Reason.SPAWN_FAILED))
        await lab.value_is("completed 2 3", *state)
        await lab.tell(words[3].finished(ExecutionStatus.FAILED, did_start=False, reason=Reason.SPAWN_FAILED))
        await everything_said(lab)
        assert lab.one(*state) == "completed 2 3"
    row = lab.database.execute(
        "SELECT next_fire_at, next_due_at, status_reason, status_by FROM deployments WHERE id = %s", (deployment,)
    )
    assert row == [(None, None, "The limit of executions was reached", "rigbeat")]
    history = lab.database.execute(
        "SELECT version, status FROM deployment_versions WHERE deployment_id = %s ORDER BY 1", (deployment,)
    )
    assert history == [(1, "active"), (2, "completed")]


async def test_fires_due_before_the_limit_was_reached_are_decided_first(lab: Lab) -> None:
    due = NOW.replace(second=0) - timedelta(minutes=2)
    deployment = lab.deploy("d", limit=1, next_fire_at=due, next_due_at=due)
    word = Word(lab.trigger(deployment), deployment)
    async with ingesting(lab):
        await lab.tell(word.finished())
        await lab.value_is("completed", "SELECT status FROM deployments WHERE id = %s", deployment)
    reasons = lab.database.execute(
        "SELECT status, reason FROM deployment_executions WHERE deployment_id = %s AND scheduled_at >= %s"
        " AND scheduled_at <> %s ORDER BY scheduled_at",
        (deployment, due, NOW),
    )
    assert reasons[0] == ("skipped", "missed")
    assert reasons[-1] == ("skipped", "limit_in_flight")
    assert lab.one("SELECT count(*) FROM outbox WHERE type = 'trigger.v1'") == 0
    notice = json.loads(lab.one("SELECT body FROM outbox WHERE type = 'command.notice.v1'"))
    assert (notice["change"], notice["status"]) == ("status", "completed")
    assert notice["execution_count"] == notice["max_executions"]


async def test_a_fact_of_an_unknown_execution_makes_its_row(lab: Lab) -> None:
    deployment, execution = lab.deploy("d"), fresh_id()
    word = Word(execution, deployment)
    async with ingesting(lab):
        await lab.tell(word.finished(), word.started())
        await lab.row_is(execution, "completed", None, False)
    columns = ("team_id", "host_name", "kind", "version", "script_name", "started_at")
    assert lab.row(execution, *columns) == (lab.team, "lab-1", "cron", 1, "health.py", NOW + timedelta(seconds=3))
    assert lab.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 1


async def test_what_is_not_the_senders_is_a_dead_letter(lab: Lab) -> None:
    deployment, other = lab.deploy("d"), lab.deploy("e", host="lab-2")
    mine, theirs = lab.trigger(deployment), lab.trigger(other)
    nobodys, unmade = fresh_id(), fresh_id()
    async with ingesting(lab):
        await lab.tell(
            Word(nobodys, fresh_id()).finished(),
            Word(theirs, other).finished(),
            Word(unmade, other).finished(),
            Word(mine, other, "lab-2").finished(),
            hello("lab-9"),
        )
        await lab.tell(Word(theirs, other, "lab-2").finished(), key="lab-1.finished")
        await everything_said(lab)
        await lab.value_is(6, "SELECT count(*) FROM dead_letters")
    reasons = {row[0].split(":")[0] for row in lab.database.execute("SELECT reason FROM dead_letters")}
    assert reasons == {"unknown deployment", "wrong host", "wrong deployment", "ContractError", "unknown host"}
    assert lab.row(mine) == lab.row(theirs) == ("triggered", None, False)
    assert lab.row(unmade) == lab.row(nobodys) == ()


async def test_poison_blocks_nobody(lab: Lab) -> None:
    deployment = lab.deploy("d")
    executions = [lab.trigger(deployment) for _ in range(8)]
    good = [lab.outgoing(Word(execution, deployment).finished()) for execution in executions]
    bad = [
        lab.message(b"{", type_="execution.finished.v1", key="lab-1.finished"),
        lab.message(b"{}", type_="execution.started.v7", key="lab-1.started"),
        lab.message(b'{"host": "lab-1"}', type_="host.hello.v1", key="lab-1.hello"),
        lab.outgoing(trigger_message(executions[0], deployment), key="lab-1.started"),
    ]
    bad[3] = lab.message(bad[3].body, type_="trigger.v1", key="lab-1.started")
    await lab.send(*bad[:2], *good[:4], *bad[2:], *good[4:])
    async with ingesting(lab):
        for execution in executions:
            await lab.row_is(execution, "completed", None, False)
        await lab.value_is(4, "SELECT count(*) FROM dead_letters WHERE queue = 'results.persist'")
    assert await depth(lab.connection, topology.RESULTS_PERSIST) == (0, 0)


async def test_a_message_that_the_ledger_cannot_hold_is_found_by_halving(lab: Lab) -> None:
    deployment = lab.deploy("d")
    executions = [lab.trigger(deployment) for _ in range(9)]
    words = [Word(execution, deployment).finished(exit_code=number) for number, execution in enumerate(executions)]
    words[2] = Word(executions[2], deployment).finished(exit_code=2**40)  # asyncpg refuses to encode it
    words[5] = Word(executions[5], deployment).finished(clock_offset_seconds=1e300)  # no such time
    await lab.tell(*words)
    async with ingesting(lab):
        for number, execution in enumerate(executions):
            if number not in {2, 5}:
                await lab.row_is(execution, "completed", None, False)
        await lab.value_is(2, "SELECT count(*) FROM dead_letters")
    assert lab.row(executions[2]) == lab.row(executions[5]) == ("triggered", None, False)
    assert lab.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 7


async def test_text_that_postgresql_cannot_hold_is_no_reason_to_refuse_a_fact(lab: Lab) -> None:
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    async with ingesting(lab):
        await lab.tell(Word(execution, deployment).finished(ExecutionStatus.FAILED, message="a\0b"))
        await lab.row_is(execution, "a\ufffdb", columns=["error_message"])


async def test_what_is_the_servers_fault_waits_and_loses_nothing(lab: Lab) -> None:
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    retries = "rigbeat_amqp_consumed_total", {"queue": topology.RESULTS_PERSIST, "verdict": "retry"}
    before = REGISTRY.get_sample_value(*retries) or 0

    async def was_tried() -> bool:
        return (REGISTRY.get_sample_value(*retries) or 0) > before

    lab.database.execute("REVOKE UPDATE ON deployment_executions FROM rigbeat_ingest")
    async with ingesting(lab):
        await lab.tell(Word(execution, deployment).finished())
        await until_async(was_tried, within=10)
        assert lab.row(execution) == ("triggered", None, False)
        lab.database.execute("GRANT UPDATE ON deployment_executions TO rigbeat_ingest")
        await lab.row_is(execution, "completed", None, False)
    assert await depth(lab.connection, topology.DEAD_LETTERS) == (0, 0)
    assert lab.one("SELECT count(*) FROM dead_letters") == 0


def test_whose_fault_an_error_is() -> None:
    assert blames_message(asyncpg.NumericValueOutOfRangeError("x"))
    assert blames_message(asyncpg.ForeignKeyViolationError("x"))
    assert blames_message(OverflowError("x"))
    for error in (
        asyncpg.UndefinedColumnError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError(),
        TimeoutError(),
    ):
        assert not blames_message(error)


async def test_a_lost_database_session_pauses_and_goes_on(lab: Lab) -> None:
    deployment = lab.deploy("d")
    executions = [lab.trigger(deployment) for _ in range(20)]
    kill = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE usename = 'rigbeat_ingest' AND datname = %s"
    )
    killed = 0
    async with ingesting(lab):
        with psycopg.connect(lab.database.superuser_url, autocommit=True) as administrator:
            for number, execution in enumerate(executions):
                await lab.tell(Word(execution, deployment).finished())
                if number % 5 == 0:
                    [(count,)] = administrator.execute(kill, (lab.database.name,)).fetchall()
                    killed += count
        for execution in executions:
            await lab.row_is(execution, "completed", None, False)
    assert killed > 0
    assert lab.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 20


async def test_a_hello_is_answered_by_one_sync(lab: Lab) -> None:
    lab.database.execute("INSERT INTO devices (host_name, device_id) VALUES ('lab-1', 'gone')")
    lab.database.execute("INSERT INTO host_scripts VALUES ('lab-1', 'gone.py')")
    lab.database.execute(
        "UPDATE devices SET lock_version = 4, lock_owner = 'ann', lock_reason = 'demo', lock_since = ledger.now()"
        " WHERE host_name = 'lab-1' AND device_id = 'box-1'"
    )
    active, paused = lab.deploy("active"), lab.deploy("paused", status="paused", version=3)
    completed = lab.deploy("completed", status="completed", version=2)
    # Paused at version 2, edited at 3: a run that was asked for at 2 stays good.
    for version, status in ((2, "paused"), (3, "paused")):
        lab.version(paused, version, status)
    lab.version(completed, 2, "completed")
    word = hello()
    async with ingesting(lab):
        await lab.tell(word, word)
        await everything_said(lab)
        [(body, team)] = lab.database.execute("SELECT body, team_id FROM outbox WHERE type = 'command.sync.v1'")
        await lab.tell(hello(sent=5))
        await lab.value_is(2, "SELECT count(*) FROM outbox WHERE type = 'command.sync.v1'")
    sync = decode(Sync.type, body.encode())
    assert isinstance(sync, Sync)
    assert (sync.host_sent_at, sync.ledger_epoch, team) == (word.host_sent_at, 1, lab.team)
    assert abs((sync.db_time - lab.one("SELECT ledger.now()")).total_seconds()) < 10
    assert [(fence.deployment_id, fence.version, fence.reason) for fence in sync.fences] == [(paused, 2, Reason.PAUSED)]
    assert [(lock.device_id, lock.lock_version, lock.owner) for lock in sync.locks] == [("box-1", 4, "ann")]
    states = {state.deployment_id: state.status for state in sync.deployments}
    assert states.items() >= {active: "active", paused: "paused"}.items()
    assert completed not in states
    host = lab.database.execute(
        "SELECT runner_version, journal_id, boot_id, max_parallel FROM hosts WHERE name = 'lab-1'"
    )
    assert host == [("1.2.3", JOURNAL, "boot-1", 2)]
    devices = lab.database.execute(
        "SELECT device_id, model, labels, present FROM devices WHERE host_name = 'lab-1' ORDER BY 1"
    )
    assert devices == [("box-1", "settop", {"floor": "2"}, True), ("box-2", "", {}, True), ("gone", "", {}, False)]
    assert lab.one("SELECT count(*) FROM host_scripts") == 0


async def test_a_new_journal_loses_what_the_old_one_had_taken(lab: Lab) -> None:
    lab.database.execute("UPDATE hosts SET journal_id = %s WHERE name = 'lab-1'", (JOURNAL,))
    deployment = lab.deploy("d", limit=2)
    waiting, running, held = (lab.trigger(deployment) for _ in range(3))
    triggered, elsewhere = lab.trigger(deployment), lab.trigger(lab.deploy("e", host="lab-2"), status="running")
    word = Word(running, deployment)
    async with ingesting(lab):
        await lab.tell(Word(waiting, deployment).queued(), word.started(), Word(held, deployment).started())
        await lab.tell(hello(held=[held]))
        await everything_said(lab)
        assert lab.row(running) == ("running", None, False)
        fresh = UUID(int=0xB)
        await lab.tell(hello(journal=fresh, held=[held], sent=1))
        await lab.row_is(running, "failed", "host_lost", True)
        assert lab.row(waiting) == ("failed", "host_lost", True)
        assert lab.row(held) == lab.row(elsewhere) == ("running", None, False)
        assert lab.row(triggered) == ("triggered", None, False)
        assert lab.database.execute("SELECT status, execution_count FROM deployments WHERE id = %s", (deployment,)) == [
            ("active", 0)
        ], "presumed endings keep their place in the limit and complete nothing"
        # The old word again is no news; a new one is.
        await lab.tell(word.started(), Word(waiting, deployment).queued())
        await everything_said(lab)
        assert lab.row(running) == lab.row(waiting) == ("failed", "host_lost", True)
        await lab.tell(word.finished())
        await lab.row_is(running, "completed", None, False)
        assert lab.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 1
        # An old hello, delivered again, takes nothing from the new journal.
        await lab.tell(hello(held=[held]))
        await everything_said(lab)
        assert lab.row(held) == ("running", None, False)
        assert lab.one("SELECT journal_id FROM hosts WHERE name = 'lab-1'") == fresh


async def test_a_heartbeat_brings_a_host_online_and_the_clock(lab: Lab) -> None:
    lab.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 hour'")
    run, next_ = fresh_id(), fresh_id()
    state = DeviceState(device_id="box-1", status="running", execution_id=run, pending=(next_,))
    seen = "SELECT last_seen_at > ledger.now() - interval '20 seconds' FROM hosts WHERE name = %s"
    async with ingesting(lab):
        await lab.tell(heartbeat(clock_offset_seconds=0.25, wants_clock=True, devices=(state,)), heartbeat("lab-9"))
        await lab.value_is(True, seen, "lab-1")
        await lab.tell(heartbeat(clock_offset_seconds=0.5, devices=(state,)))
        await lab.value_is(0.5, "SELECT clock_offset_seconds FROM hosts WHERE name = 'lab-1'")
        lab.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = 'lab-2'")
        await lab.tell(heartbeat("lab-2"))
        await lab.tell(heartbeat(clock_offset_seconds=0.75))
        await lab.value_is(0.75, "SELECT clock_offset_seconds FROM hosts WHERE name = 'lab-1'")
    assert lab.one(seen, "lab-2") is False
    assert lab.database.execute(
        "SELECT status, execution_id, pending FROM devices WHERE host_name = 'lab-1' AND device_id = 'box-1'"
    ) == [("running", run, [next_])]
    [(body,)] = lab.database.execute("SELECT body FROM outbox WHERE type = 'command.clock.v1'")
    assert json.loads(body)["host_sent_at"] == NOW.isoformat().replace("+00:00", "Z")
    feed = lab.database.execute("SELECT kind, resource_id FROM change_feed ORDER BY id")
    assert feed == [("host", "lab-1"), ("device", "lab-1/box-1")]


async def test_a_silent_host_is_told_once_and_only_while_we_hear(lab: Lab) -> None:
    hears = False
    silence = Silence(lab.pool, hears=lambda: hears, every_seconds=0.05, listen_seconds=0.2)
    noted = "SELECT count(*) FROM change_feed WHERE kind = 'host' AND resource_id = 'lab-1'"
    lab.database.execute(
        "UPDATE hosts SET last_seen_at = ledger.now() - make_interval(secs => %s)", (OFFLINE_SECONDS + 60,)
    )
    async with ingesting(lab, silence):
        hears = True
        await lab.value_is(1, "SELECT count(*) FROM liveness WHERE name = 'presence'")
        assert lab.one(noted) == 0
        lab.database.execute(
            "UPDATE hosts SET last_seen_at = ledger.now() - make_interval(secs => %s) WHERE name = 'lab-1'",
            (OFFLINE_SECONDS - 0.3,),
        )
        await lab.value_is(1, noted)
        alive = lab.one("SELECT at FROM liveness")
        await lab.value_is(True, "SELECT at > %s FROM liveness", alive)
        assert lab.one(noted) == 1
        hears = False
        await lab.value_is(True, "SELECT ledger.now() - at > interval '0.5 seconds' FROM liveness")


async def test_that_results_are_read_is_told_only_while_none_of_them_waits(lab: Lab) -> None:
    at = "SELECT at FROM liveness WHERE name = 'results'"
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    stuck = False
    caught_up = CaughtUp(lab.pool, lab.amqp_url, is_stuck=lambda: stuck, every_seconds=0.05)
    async with ingesting(lab, caught_up):
        moment = "SELECT ledger.now() > %s + interval '0.5 seconds'"
        await lab.value_is(True, moment, lab.one("SELECT ledger.now()"))
        assert lab.one(at) is None, "it is empty, and nobody consumes it: so it looks when its leader does not answer"
        async with ingesting(lab, Results(lab.pool, lab.amqp_url)):
            await lab.value_is(True, f"SELECT ({at}) IS NOT NULL")
            alive = lab.one(at)
            await lab.value_is(True, f"SELECT ({at}) > %s", alive)
            stuck = True
            await lab.value_is(True, f"SELECT ledger.now() > ({at}) + interval '0.5 seconds'")
            stuck = False
        told = lab.one(at)
        await lab.tell(Word(execution, deployment).queued())
        await lab.value_is(True, moment, lab.one("SELECT ledger.now()"))
        assert lab.one(at) == told, "one waits"
        async with ingesting(lab, Results(lab.pool, lab.amqp_url)):
            await lab.row_is(execution, "queued", "device_busy", False)
            await lab.value_is(True, f"SELECT ({at}) > %s", told)


async def test_results_that_cannot_be_written_are_told_to_be_stuck(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    results = Results(lab.pool, lab.amqp_url)
    monkeypatch.setattr("services.api.ingest.results.STUCK_SECONDS", 0.3)
    lab.database.execute("REVOKE UPDATE ON deployment_executions FROM rigbeat_ingest")
    try:
        async with ingesting(lab, results):
            await lab.tell(Word(execution, deployment).queued())

            async def stuck_is(expected: bool) -> bool:
                return results.is_stuck() is expected

            await until_async(partial(stuck_is, True), within=10, what="it is stuck")
            lab.database.execute("GRANT UPDATE ON deployment_executions TO rigbeat_ingest")
            await lab.row_is(execution, "queued", "device_busy", False)
            # The row shows with the commit, and the batch is out of hand a moment after it.
            await until_async(partial(stuck_is, False), within=10, what="it is stuck no more")
    finally:
        lab.database.execute("GRANT UPDATE ON deployment_executions TO rigbeat_ingest")


async def test_who_fell_silent_while_nobody_heard_is_told_when_somebody_does(lab: Lab) -> None:
    online = "SELECT last_seen_at > ledger.heard_since() FROM hosts WHERE name = 'lab-1'"
    noted = "SELECT array_agg(resource_id) FROM change_feed WHERE kind = 'host'"
    lab.database.execute(
        "INSERT INTO liveness (name, at) VALUES ('presence', ledger.now() - make_interval(secs => 120))"
    )
    lab.database.execute(
        "UPDATE hosts SET last_seen_at = ledger.now() - make_interval(secs => 100) WHERE name = 'lab-1'"
    )
    assert lab.one(online) is True, "what was known last is shown while nobody reads heartbeats"
    async with ingesting(lab, Silence(lab.pool, hears=lambda: True, every_seconds=0.05, listen_seconds=0.1)):
        await lab.value_is(["lab-1"], noted)
        alive = lab.one("SELECT at FROM liveness")
        await lab.value_is(True, "SELECT at > %s FROM liveness", alive)
    assert lab.one(online) is False
    assert lab.one(noted) == ["lab-1"]


async def test_a_dead_trigger_on_a_shared_host_is_its_own_teams(lab: Lab) -> None:
    guests = lab.database.team("guests")
    deployment = lab.deploy("d")
    lab.database.execute("UPDATE deployments SET team_id = %s", (guests,))
    body = trigger_message(fresh_id(), deployment).model_dump_json().encode()
    stray = trigger_message(fresh_id(), deployment, host="lab-2").model_dump_json().encode()
    death = {"x_dead_reason": "expired", "x_dead_queue": topology.triggers_queue("lab-1")}
    async with ingesting(lab):
        for content, host in ((body, "lab-1"), (stray, "lab-2")):
            await lab.send(lab.message(content, type_="trigger.v1", key=host, exchange=topology.DEAD, **death))
        await lab.value_is(2, "SELECT count(*) FROM dead_letters")
    teams = lab.database.execute("SELECT host_name, team_id FROM dead_letters ORDER BY 1")
    assert teams == [("lab-1", guests), ("lab-2", lab.team)]


async def test_an_answer_to_a_command_wakes_who_waits(lab: Lab) -> None:
    command = fresh_id()
    lab.database.execute(
        "INSERT INTO outbox (message_id, team_id, type, exchange, host_name, body)"
        " VALUES (%s, %s, 'command.fence.v1', 'rigbeat.commands', 'lab-1', '{}')",
        (command, lab.team),
    )
    woken: list[object] = []
    listener = await connect_ledger(lab.database.api_url, application="test")
    try:
        await listener.add_listener(channels.APPLIED, lambda *said: woken.append(said[-1]))
        async with ingesting(lab):
            await lab.tell(voided(command, fresh_id(), CommandResult.UNKNOWN, "lab-2"))
            await lab.tell(voided(command, fresh_id(), CommandResult.APPLIED))
            await lab.value_is("applied", "SELECT result FROM outbox WHERE message_id = %s", command)
            await lab.tell(voided(command, fresh_id(), CommandResult.STALE))
            await everything_said(lab)
        assert lab.one("SELECT result FROM outbox WHERE applied_at IS NOT NULL") == "applied"

        async def was_woken() -> bool:
            return woken == [str(command)]

        await until_async(was_woken, within=5)
    finally:
        await listener.close()


async def test_an_expired_trigger_is_missed_until_its_host_says_otherwise(lab: Lab) -> None:
    deployment = lab.deploy("d")
    never, held = lab.trigger(deployment), lab.trigger(deployment)
    for execution in (never, held):
        message = lab.outgoing(trigger_message(execution, deployment))
        await lab.send(_expiring(message))
    voids = "SELECT message_id FROM outbox WHERE type = 'command.void.v1' AND body LIKE %s"
    async with ingesting(lab):
        for execution in (never, held):
            await lab.row_is(execution, "skipped", "missed", True)
        command = lab.one(voids, f"%{never}%")
        void = decode(Void.type, lab.one("SELECT body FROM outbox WHERE message_id = %s", command).encode())
        assert isinstance(void, Void)
        assert (void.host, void.execution_id, void.deployment_id) == ("lab-1", never, deployment)
        await lab.tell(voided(command, never, CommandResult.UNKNOWN, "lab-2"))
        await lab.tell(voided(lab.one(voids, f"%{held}%"), held, CommandResult.HELD), Word(held, deployment).started())
        await lab.row_is(held, "running", None, False)
        assert lab.row(never) == ("skipped", "missed", True)
        await lab.tell(voided(command, never, CommandResult.UNKNOWN))
        await lab.row_is(never, "skipped", "missed", False)
    assert lab.row(never, "skip_reason")[0] == "Missed: the host did not take it until its window had passed"
    letters = lab.database.execute(
        "SELECT queue, reason, host_name, team_id, type, convert_from(body, 'UTF8')::jsonb ->> 'execution_id'"
        " FROM dead_letters WHERE execution_id = %s",
        (never,),
    )
    assert letters == [("host.lab-1.triggers", "expired", "lab-1", lab.team, "trigger.v1", str(never))]


async def test_a_host_that_holds_what_nobody_heard_of_is_asked_to_tell_again(lab: Lab) -> None:
    deployment = lab.deploy("d")
    unheard, also, heard = (lab.trigger(deployment) for _ in range(3))
    for execution in (unheard, also, heard):
        await lab.send(_expiring(lab.outgoing(trigger_message(execution, deployment))))
    asked = "SELECT count(*) FROM outbox WHERE type = 'command.resend.v1'"
    async with ingesting(lab):
        for execution in (unheard, also, heard):
            await lab.row_is(execution, "skipped", "missed", True)
        await lab.tell(voided(fresh_id(), unheard, CommandResult.HELD, "lab-2"))
        await lab.tell(Word(heard, deployment).started(), voided(fresh_id(), heard, CommandResult.HELD))
        await lab.row_is(heard, "running", None, False)
        assert lab.one(asked) == 0
        await lab.tell(voided(fresh_id(), unheard, CommandResult.HELD), voided(fresh_id(), also, CommandResult.HELD))
        await lab.value_is(1, asked)
        await lab.tell(voided(fresh_id(), also, CommandResult.HELD), Word(also, deployment).started())
        await lab.row_is(also, "running", None, False)
    assert lab.one(asked) == 1
    assert lab.one("SELECT host_name FROM outbox WHERE type = 'command.resend.v1'") == "lab-1"


async def test_a_returned_trigger_was_never_delivered(lab: Lab) -> None:
    deployment = lab.deploy("d")
    returned, running = lab.trigger(deployment), lab.trigger(deployment, status="running")
    async with ingesting(lab):
        for execution in (returned, running):
            body = lab.outgoing(trigger_message(execution, deployment)).body
            letter = lab.message(
                body,
                type_="trigger.v1",
                key="lab-1",
                exchange=topology.DEAD,
                x_dead_reason="undeliverable",
                x_dead_exchange=topology.TRIGGERS,
            )
            await lab.send(letter, letter)
        await lab.row_is(returned, "skipped", "undeliverable", False)
        await lab.value_is(1, "SELECT count(*) FROM dead_letters WHERE execution_id = %s", running)
    assert lab.row(running) == ("running", None, False)
    assert lab.one("SELECT count(*) FROM dead_letters") == 2
    assert lab.one("SELECT count(*) FROM outbox") == 0


async def test_a_trigger_that_was_sent_before_may_be_at_its_host(lab: Lab) -> None:
    deployment = lab.deploy("d")
    returned = lab.trigger(deployment)
    async with ingesting(lab):
        body = lab.outgoing(trigger_message(returned, deployment)).body
        death = {"x_dead_reason": "returned", "x_dead_exchange": topology.TRIGGERS}
        await lab.send(lab.message(body, type_="trigger.v1", key="lab-1", exchange=topology.DEAD, **death))
        await lab.row_is(returned, "skipped", "missed", True)
        await lab.tell(Word(returned, deployment).finished(success=True, exit_code=0))
        await lab.row_is(returned, "completed", None, False)
    assert lab.database.execute("SELECT type FROM outbox") == [("command.void.v1",)]


async def test_no_host_ends_anothers_fire_with_a_forged_dead_letter(lab: Lab) -> None:
    deployment = lab.deploy("d")
    victim, own = lab.trigger(deployment), lab.trigger(deployment)
    async with ingesting(lab):
        forged = lab.outgoing(trigger_message(victim, deployment)).body
        # What a host may publish goes to the results, is refused there and buried with these headers.
        death = {"x_dead_reason": "ContractError: no event", "x_dead_queue": "results.persist"}
        elsewhere = {"x_dead_reason": "expired", "x_dead_queue": topology.triggers_queue("lab-2")}
        for headers in (death, elsewhere):
            await lab.send(lab.message(forged, type_="trigger.v1", key="x.y", exchange=topology.DEAD, **headers))
        body = lab.outgoing(trigger_message(own, deployment)).body
        barrier = {"x_dead_reason": "expired", "x_dead_queue": topology.triggers_queue("lab-1")}
        await lab.send(lab.message(body, type_="trigger.v1", key="lab-1", exchange=topology.DEAD, **barrier))
        await lab.row_is(own, "skipped", "missed", True)
    assert lab.row(victim) == ("triggered", None, False)
    assert lab.one("SELECT count(*) FROM dead_letters") == 3


async def test_any_dead_letter_can_be_stored(lab: Lab) -> None:
    async with ingesting(lab):
        await lab.send(
            lab.message(b"\0\xff" * 50_000, type_="x\0y", key="what.ever", exchange=topology.DEAD, odd="\0\ud7ff")
        )
        await lab.value_is(1, "SELECT count(*) FROM dead_letters")
    stored = lab.database.execute("SELECT reason, type, length(body), body_size, state FROM dead_letters")
    assert stored == [("unknown", "x\ufffdy", 65536, 100_000, "open")]


async def test_a_device_changes(lab: Lab) -> None:
    states = [DeviceState(device_id="box-1", status=status) for status in ("locked", "free", "waiting")]
    common = {"host": "lab-1", "journal_id": JOURNAL, "runner_id": JOURNAL, "at": NOW}
    async with ingesting(lab):
        await lab.tell(*(DeviceChanged(**common, sequence=n, device=state) for n, state in enumerate(states, 1)))
        await lab.value_is("waiting", "SELECT status FROM devices WHERE host_name = 'lab-1' AND device_id = 'box-1'")


async def test_a_deleted_queue_ends_the_part(lab: Lab) -> None:
    results = Results(lab.pool, lab.amqp_url)

    async def consumes() -> bool:
        return (await depth(lab.connection, topology.RESULTS_PERSIST))[1] == 1

    async def ended() -> bool:
        return isinstance(results.failure, ConsumerCancelled)

    await results.start()
    try:
        await until_async(consumes, within=10)
        async with channel_of(lab.connection) as channel:
            await channel.queue_delete(topology.RESULTS_PERSIST)
        await until_async(ended, within=10)
    finally:
        await results.stop(5)


async def test_the_process_works_alone_and_stops_when_told(lab: Lab, tmp_path: Path) -> None:
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    log = tmp_path / "ingest.log"
    environment = {
        "PATH": "/usr/bin:/bin",
        "RIGBEAT_INGEST_DATABASE_URL": lab.database.ingest_url,
        "RIGBEAT_AMQP_URL": lab.amqp_url,
        "RIGBEAT_INGEST_HTTP_PORT": "0",
        "RIGBEAT_LOG_FORMAT": "json",
    }
    child = start("ingest", [sys.executable, "-m", "services.api.ingest"], env=environment, log=log, cwd=ROOT)
    try:
        await lab.tell(Word(execution, deployment).finished())
        await lab.row_is(execution, "completed", None, False, within=20)
        child.send(signal.SIGTERM)
        assert child.wait(10) == 0, log.read_text()
    finally:
        child.kill()


def _delivery(event: HostEvent) -> Incoming:
    return Incoming(
        body=event.model_dump_json().encode(),
        message_id="test",
        type=event.type,
        correlation_id=None,
        routing_key=f"{event.host}.{event.event}",
        exchange=topology.RESULTS,
        headers={},
        redelivered=False,
        delivery_tag=1,
        timestamp=NOW,
    )


def _expiring(message: Outgoing) -> Outgoing:
    return Outgoing(
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        message_id=message.message_id,
        type=message.type,
        correlation_id=message.correlation_id,
        app_id=message.app_id,
        timestamp=message.timestamp,
        expiration_seconds=0,
    )
