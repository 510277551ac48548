"""What would fire where it may not any more is paused by the schedulers, whoever said so and died."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4  # noqa: TID251 # an id that nobody looks at

import pytest

from libs.contracts import Resend
from libs.ledger import channels
from libs.ledger.decisions import write_fires
from libs.ledger.listener import Listener
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import create_pool
from libs.ledger.rows import DeploymentRow
from libs.schedule.plan import decide
from services.scheduler import barred
from services.scheduler.barred import Barrier
from services.scheduler.release import release
from tests.support.scheduling import Bench
from tests.support.wait import until_async

REVOKED = "The host lab-1 is revoked"
LOST = "The team may not use the host lab-1 any more"


@pytest.fixture
def barrier(bench: Bench) -> Barrier:
    return Barrier(bench.pool, wake=asyncio.Event())


def standing(bench: Bench, deployment: UUID) -> tuple[Any, ...]:
    [(status, reason, by, version)] = bench.database.execute(
        "SELECT status, status_reason, status_by, version FROM deployments WHERE id = %s", (deployment,)
    )
    return status, reason, by, version


def told(bench: Bench) -> list[tuple[Any, ...]]:
    """What was written down for hosts, but for triggers."""
    return bench.database.execute("SELECT type, host_name FROM outbox WHERE type <> 'trigger.v1' ORDER BY id")


def revoke(bench: Bench) -> None:
    bench.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = 'lab-1'")


async def test_nothing_fires_on_a_revoked_host_and_it_is_told_nothing(bench: Bench, barrier: Barrier) -> None:
    bench.database.host("lab-2", bench.team, ["box"])
    due, later = bench.deploy("due"), bench.deploy("later", due="-60 minutes")
    elsewhere = bench.deploy("elsewhere", due="-60 minutes", host_name="lab-2", device_id="box")
    deleted = bench.deploy("deleted", due="-60 minutes")
    bench.database.execute("UPDATE deployments SET deleted_at = ledger.now() WHERE id = %s", (deleted,))
    assert await barrier.look() == 0
    revoke(bench)
    assert await barrier.look() == 2
    for one in (due, later):
        assert standing(bench, one) == ("paused", REVOKED, "rigbeat", 2)
        assert bench.one("SELECT next_fire_at FROM deployments WHERE id = %s", one) is None
        assert bench.one("SELECT status FROM deployment_versions WHERE deployment_id = %s AND version = 2", one) == (
            "paused"
        )
    # What was due before it keeps its row.
    assert bench.rows(due) == [("skipped", "paused", "cron")]
    assert standing(bench, elsewhere)[0] == standing(bench, deleted)[0] == "active"
    assert told(bench) == []
    audit = "SELECT actor, action, resource, team_id, address, token_prefix, detail FROM audit_log ORDER BY id"
    assert bench.database.execute(audit) == [
        ("rigbeat", "pause", f"deployment/{one}", bench.team, None, None, detail)
        for one in sorted((due, later))
        for detail in [
            {"version": 2, "changes": {"status": {"before": "active", "after": "paused"}}, "reason": REVOKED}
        ]
    ]
    assert await barrier.look() == 0
    assert await bench.claimer().claim() == 0


async def test_of_a_host_that_is_shared_no_more_only_strangers_are_paused_and_it_is_fenced(
    bench: Bench, barrier: Barrier
) -> None:
    friends, guests = bench.database.team("friends"), bench.database.team("guests")
    bench.database.execute("UPDATE hosts SET shared_teams = %s WHERE name = 'lab-1'", ([friends, guests],))
    own, theirs, gone = (bench.deploy(name, due="-60 minutes") for name in ("own", "theirs", "gone"))
    for deployment, team in ((theirs, friends), (gone, guests)):
        bench.database.execute("UPDATE deployments SET team_id = %s WHERE id = %s", (team, deployment))
    assert await barrier.look() == 0
    bench.database.execute("UPDATE hosts SET shared_teams = %s WHERE name = 'lab-1'", ([friends],))
    assert await barrier.look() == 1
    assert standing(bench, gone) == ("paused", LOST, "rigbeat", 2)
    assert standing(bench, own)[0] == standing(bench, theirs)[0] == "active"
    assert told(bench) == [("command.fence.v1", "lab-1"), ("command.notice.v1", "lab-1")]
    fence = "SELECT body::jsonb FROM outbox WHERE type = 'command.fence.v1'"
    body = bench.one(fence)
    assert (body["deployment_id"], body["version"], body["reason"]) == (str(gone), 2, "paused")


async def test_what_expired_meanwhile_releases_nothing_there(bench: Bench, barrier: Barrier) -> None:
    expired = bench.deploy("expired", due="3 minutes", catch_up="all", catch_up_window_seconds=3600)
    paused = bench.deploy("paused", due="3 minutes", catch_up="all", catch_up_window_seconds=3600)
    await bench.claimer().claim()
    bench.database.execute("UPDATE deployments SET status = 'expired', next_due_at = NULL WHERE id = %s", (expired,))
    held = "SELECT count(*) FROM deployment_executions WHERE deployment_id = %s AND held"
    before = bench.one(held, expired)
    assert before >= 3
    revoke(bench)
    assert await barrier.look() == 2
    assert [bench.one(held, one) for one in (expired, paused)] == [0, 0]
    assert set(bench.rows(expired)) <= {("skipped", "expired", "catch_up"), ("skipped", "expired", "cron")}
    assert ("skipped", "paused", "catch_up") in bench.rows(paused)
    assert standing(bench, expired)[0] == "expired"
    assert await barrier.look() == 0


async def test_commands_are_written_for_hosts_that_may_hear_them_alone(bench: Bench) -> None:
    bench.database.host("lab-2", bench.team, ["box"])
    revoke(bench)
    async with bench.pool.acquire() as connection:
        resends = [Resend(command_id=uuid4(), host=host) for host in ("lab-1", "lab-2")]
        await enclose(connection, [Parcel(bench.team, resend) for resend in resends])
    assert told(bench) == [("command.resend.v1", "lab-2")]


async def test_nothing_is_decided_while_firing_is_held(bench: Bench, barrier: Barrier) -> None:
    one = bench.deploy("one")
    revoke(bench)
    bench.database.execute("UPDATE epoch SET firing = false")
    assert await barrier.look() == 0
    assert standing(bench, one)[0] == "active"
    bench.database.execute("UPDATE epoch SET firing = true")
    assert await barrier.look() == 1


async def test_nor_does_who_claims_or_releases_first_fire_there(bench: Bench) -> None:
    """As schedulers do that were away when the host was revoked."""
    due, behind = bench.deploy("due"), bench.deploy("behind", due="3 minutes", catch_up="all")
    expired = bench.deploy("expired", due="9 minutes", catch_up="all", catch_up_window_seconds=3600)
    assert await bench.claimer(batch=1).claim() == 1
    bench.database.execute("UPDATE deployments SET status = 'expired', next_due_at = NULL WHERE id = %s", (expired,))
    [held] = {bench.one("SELECT count(*) FROM deployment_executions WHERE deployment_id = %s AND held", expired)}
    revoke(bench)
    assert await bench.claimer().claim() == 2
    assert await release(bench.pool) == 0
    assert set(bench.rows(due)) | set(bench.rows(behind)) == {
        ("skipped", "paused", kind) for kind in ("cron", "catch_up")
    }
    assert held > 0
    assert bench.one("SELECT count(*) FROM outbox") == 0


async def test_nor_does_the_ingest_when_it_decides_what_was_due_before_a_result(bench: Bench) -> None:
    one = bench.deploy("one", catch_up="all", catch_up_window_seconds=3600)
    revoke(bench)
    pool = await create_pool(bench.database.ingest_url, application="test", most=1)
    try:
        async with pool.acquire() as connection, connection.transaction():
            [record] = await connection.fetch("SELECT * FROM deployments WHERE id = $1", one)
            row = DeploymentRow.of(record)
            now = await connection.fetchval("SELECT ledger.now()")
            fires = decide(row.plan(), now, 0).fires
            assert [fire.reason for fire in fires] == [None]
            written = await write_fires(connection, [(row, fire) for fire in fires], now=now, ledger_epoch=1)
    finally:
        pool.terminate()
    assert (written.triggered, written.skipped) == (0, 1)
    assert bench.rows(one) == [("skipped", "paused", "cron")]
    assert bench.one("SELECT count(*) FROM outbox") == 0


async def test_two_schedulers_share_the_work_and_a_word_wakes_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(barred, "EVERY_SECONDS", 60.0)
    wakes = [asyncio.Event(), asyncio.Event()]
    barriers = [Barrier(bench.pool, wake=wake) for wake in wakes]
    listening = [asyncio.Event(), asyncio.Event()]
    ears = [
        Listener(
            bench.database.scheduler_url,
            {channels.HOSTS: lambda _, wake=wake: wake.set()},  # type: ignore[misc]
            application="test",
            on_listening=listens.set,
        )
        for wake, listens in zip(wakes, listening, strict=True)
    ]
    for part in (*barriers, *ears):
        await part.start()
    try:
        for number in range(250):
            bench.deploy(f"d{number}", due="-60 minutes")

        for listens in listening:
            await asyncio.wait_for(listens.wait(), 10)
        bench.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = 'lab-1'")
        bench.database.execute("SELECT pg_notify(%s, 'lab-1')", (channels.HOSTS,))

        async def all_paused() -> bool:
            return bool(bench.one("SELECT count(*) = 250 FROM deployments WHERE status = 'paused'"))

        await until_async(all_paused, within=30, what="all of them are paused")
        assert bench.one("SELECT count(*) FROM audit_log") == 250, "each once"
    finally:
        for part in (*ears, *barriers):
            await part.stop(5)
