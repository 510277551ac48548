"""`GET /deployments/{id}/why` over a real ledger and the scheduler's own decisions; the words are unit tested."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx

from libs.ledger.pool import create_pool
from services.scheduler.claim import Claimer
from tests.support.api import Api, created, problem
from tests.support.ledger import shift_now

NAMES = [
    *("exists", "status", "start_date", "end_date", "cron", "limit", "host", "device_lock", "device_busy", "slot"),
]


async def why(client: httpx.AsyncClient, made: dict[str, Any], at: datetime | None = None) -> dict[str, Any]:
    params = {"at": at.isoformat()} if at is not None else {}
    answer = await client.get(f"/deployments/{made['id']}/why", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"deployment_id", "at", "verdict", "sentence", "by", "execution_id", "actions", "checks"}
    assert [check["check"] for check in body["checks"]] == NAMES
    return body


def check(body: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in body["checks"] if each["check"] == name)


async def claim(api: Api) -> None:
    pool = await create_pool(api.database.scheduler_url, application="test", most=2)
    try:
        await Claimer(pool, batch=10, wake=asyncio.Event()).claim()
    finally:
        pool.terminate()


def now(api: Api) -> datetime:
    [(at,)] = api.database.execute("SELECT date_trunc('minute', ledger.now())")
    assert isinstance(at, datetime)
    return at


MINUTE = timedelta(minutes=1)


async def test_any_minute_is_answered_past_and_future(api: Api, editor: httpx.AsyncClient) -> None:
    viewer = await api.of_role("viewer")
    made = await created(editor, cron_expression="* * * * *", name="beat", max_executions=5)
    created_in = now(api)
    shift_now(api.database, 180)
    await claim(api)
    api.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    [(present,)] = api.database.execute("SELECT scheduled_at FROM deployment_executions WHERE status = 'triggered'")

    before = await why(viewer, made, created_in - MINUTE)
    assert (before["verdict"], before["by"]) == ("no_fire", "exists")
    assert "by editor-token" in before["sentence"]
    missed = await why(viewer, made, present - MINUTE)
    assert (missed["verdict"], missed["by"]) == ("skipped", "scheduler")
    assert "Missed: due at" in missed["sentence"]
    sent = await why(viewer, made, present + timedelta(seconds=20))
    assert (sent["verdict"], sent["by"]) == ("will_run", None)
    assert sent["at"] == present.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert sent["execution_id"] is not None
    assert [action["action"] for action in sent["actions"]] == ["cancel"]
    assert (await why(viewer, made))["at"] >= sent["at"]

    will = await why(viewer, made, present + 2 * MINUTE)
    assert (will["verdict"], will["execution_id"]) == ("will_run", None)
    assert all(each["ok"] for each in will["checks"])
    # One is in flight, so four are left, and four more fires come before the fifth minute.
    limited = await why(viewer, made, present + 5 * MINUTE)
    assert (limited["verdict"], limited["by"]) == ("will_be_skipped", "limit")
    api.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 minute'")
    away = await why(viewer, made, present + 2 * MINUTE)
    assert (away["verdict"], away["by"]) == ("will_be_skipped", "host")
    # Nobody has read heartbeats for 40 s: what was known then goes on, as everywhere.
    api.database.execute("INSERT INTO liveness (name, at) VALUES ('presence', ledger.now() - interval '40 seconds')")
    assert (await why(viewer, made, present + 2 * MINUTE))["verdict"] == "will_run"
    api.database.execute("DELETE FROM liveness")
    api.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    api.database.execute("UPDATE devices SET lock_owner = 'carol', lock_reason = 'demo' WHERE device_id = 'stb-1'")
    locked = await why(viewer, made, present + 2 * MINUTE)
    assert (locked["verdict"], locked["by"]) == ("will_be_skipped", "device_lock")
    assert [action["path"] for action in locked["actions"] if action["action"] == "unlock"] == [
        "/api/v1/hosts/lab-1/devices/stb-1/unlock"
    ]


async def test_the_history_is_asked_not_the_present(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, cron_expression="*/2 * * * *", name="beat")
    shift_now(api.database, 240)
    await claim(api)
    paused_at = now(api)
    await editor.post(f"/deployments/{made['id']}/pause", json={"reason": "rack moved"})
    shift_now(api.database, 480)
    await editor.post(f"/deployments/{made['id']}/resume")
    even = paused_at + MINUTE * (4 if paused_at.minute % 2 == 0 else 3)
    paused = await why(editor, made, even)
    assert (paused["verdict"], paused["by"]) == ("no_fire", "status")
    assert "by editor-token: rack moved." in paused["sentence"]


async def test_a_run_now_is_found_in_its_minute(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, cron_expression="0 0 1 1 *")
    run = (await editor.post(f"/deployments/{made['id']}/run")).json()
    api.database.execute(
        "UPDATE deployment_executions SET status = 'failed', reason = 'exit_code', success = false, exit_code = 3,"
        " error_message = 'Ended with exit code 3', started_at = decided_at, completed_at = decided_at,"
        " duration_seconds = 1.5 WHERE id = %s",
        (run["id"],),
    )
    asked = await why(editor, made, datetime.fromisoformat(run["scheduled_at"]))
    assert (asked["verdict"], asked["execution_id"]) == ("ran", run["id"])
    assert check(asked, "cron")["sentence"].startswith("Not asked: editor-token")
    assert asked["sentence"].endswith("and failed: Ended with exit code 3.")
    assert [action["action"] for action in asked["actions"]] == ["log", "run"]


async def test_what_is_not_there_and_what_is_no_time(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    other = await api.of_role("viewer", api.database.team("other"))
    path = f"/deployments/{made['id']}/why"
    problem(await other.get(path), 404, "not-found")
    problem(await editor.get("/deployments/00000000-0000-0000-0000-000000000000/why"), 404, "not-found")
    for wrong in ("yesterday", "2026-11-23T10:00:00", "9999-01-01T00:00:00Z"):
        refused = problem(await editor.get(path, params={"at": wrong}), 422, "invalid-input")
        assert refused["errors"][0]["field"] == "at"
    assert (await editor.get(path, params={"at": "2999-01-01T00:00:00Z"})).status_code == 200
    assert (await editor.get(path, params={"at": "1970-01-01T00:00:00Z"})).status_code == 200
