"""Deployments over HTTP: made, found, edited, paused, resumed, stopped, deleted, run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.api import fencing
from tests.support.api import AT_STB_1, EVERY_TEN, Api, created, problem, until_acknowledgements_are_heard
from tests.support.ledger import shift_now


def shift_past_next_fire(api: Api, deployment: dict[str, Any]) -> None:
    """Five seconds after its next fire."""
    ((ahead,),) = api.database.execute(
        "SELECT extract(epoch FROM %s::timestamptz - clock_timestamp())::float8", (deployment["next_fire_at"],)
    )
    shift_now(api.database, ahead + 5)


def at(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


async def test_one_deployment_comes_back_whole(api: Api, editor: httpx.AsyncClient) -> None:
    before = datetime.now(UTC)  # noqa: TID251
    answer = await editor.post(
        "/deployments",
        json={**EVERY_TEN, **AT_STB_1, "name": "health", "parameters": "--limit 2", "userinterface_name": "demo"}
        | {"max_executions": 20, "timezone": "Europe/Berlin"},
    )
    assert answer.status_code == 201
    (made,) = answer.json()["items"]
    assert made | {"id": 0, "created_at": 0, "updated_at": 0, "next_fire_at": 0} == {
        "id": 0,
        "name": "health",
        "team_id": str(api.team),
        "host_name": "lab-1",
        "device_id": "stb-1",
        "script_name": "health.py",
        "userinterface_name": "demo",
        "parameters": "--limit 2",
        "cron_expression": "*/10 * * * *",
        "timezone": "Europe/Berlin",
        "description": "Every 10 minutes",
        "start_date": None,
        "end_date": None,
        "max_executions": 20,
        "execution_count": 0,
        "last_executed_at": None,
        "next_fire_at": 0,
        "status": "active",
        "status_reason": None,
        "status_by": None,
        "host_acknowledged": None,
        "catch_up": "latest",
        "catch_up_window_seconds": 600,
        "on_device_busy": "skip",
        "max_wait_seconds": 3600,
        "timeout_seconds": 3600,
        "silence_timeout_seconds": None,
        "version": 1,
        "created_at": 0,
        "created_by": "editor-token",
        "updated_at": 0,
        "deleted_at": None,
    }
    assert timedelta(0) < at(made["next_fire_at"]) - before <= timedelta(minutes=10)
    assert at(made["next_fire_at"]).minute % 10 == 0
    one = await editor.get(f"/deployments/{made['id']}")
    assert one.json() == made
    assert one.headers["etag"] == '"1"'
    assert api.database.execute("SELECT version, status FROM deployment_versions") == [(1, "active")]
    assert api.database.execute("SELECT actor, action, resource FROM audit_log") == [
        ("editor-token", "create", f"deployment/{made['id']}")
    ]
    assert api.database.execute("SELECT kind, resource_id FROM change_feed") == [("deployment", made["id"])]


async def test_targets_are_all_or_nothing(api: Api, editor: httpx.AsyncClient) -> None:
    good = [AT_STB_1, {"host_name": "lab-1", "device_id": "stb-2", "userinterface_name": "other"}]
    bad = {"host_name": "lab-1", "device_id": "stb-9"}
    refused = problem(
        await editor.post("/deployments", json={**EVERY_TEN, "targets": [*good, bad]}), 422, "invalid-input"
    )
    assert [error["field"] for error in refused["errors"]] == ["targets[2].device_id"]
    assert "stb-" in refused["errors"][0]["hint"]
    assert (await editor.get("/deployments")).json() == {"items": [], "next": None}
    made = await editor.post("/deployments", json={**EVERY_TEN, "targets": good, "userinterface_name": "demo"})
    assert made.status_code == 201
    items = made.json()["items"]
    assert [(item["device_id"], item["userinterface_name"]) for item in items] == [
        ("stb-1", "demo"),
        ("stb-2", "other"),
    ]
    assert len({item["id"] for item in items}) == len({item["name"] for item in items}) == 2


async def test_names_are_drawn_from_script_and_time_and_unique_in_the_team(api: Api, editor: httpx.AsyncClient) -> None:
    # The clock stands still, so that all names have the same time.
    api.database.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE "
        "AS $$ SELECT '2026-11-24 14:30:52+00'::timestamptz $$"
    )
    drawn = [(await created(editor))["name"] for _ in range(3)]
    assert drawn == ["health_143052", "health_143052_2", "health_143052_3"]
    refused = problem(
        await editor.post("/deployments", json={**EVERY_TEN, **AT_STB_1, "name": drawn[0]}), 422, "invalid-input"
    )
    assert refused["errors"][0]["field"] == "name"
    gone = (await editor.get("/deployments", params={"q": "_3"})).json()["items"][0]
    assert (await editor.delete(f"/deployments/{gone['id']}")).status_code == 200
    assert (await created(editor, name=drawn[2]))["name"] == drawn[2]


async def test_h_is_spread_by_name_and_stored_as_numbers(editor: httpx.AsyncClient) -> None:
    made = [await created(editor, name=f"nightly-{n}", cron_expression="H 2 * * *") for n in range(8)]
    minutes = {one["cron_expression"].split()[0] for one in made}
    assert all(minute.isdecimal() for minute in minutes)
    assert len(minutes) > 3


async def test_lists_come_in_pages_and_a_cursor_belongs_to_its_filters(editor: httpx.AsyncClient) -> None:
    made = [await created(editor, name=f"d{n}", device_id="stb-1" if n % 2 else "stb-2") for n in range(5)]
    newest_first = [one["id"] for one in reversed(made)]
    seen: list[str] = []
    cursor = None
    while True:
        page = (await editor.get("/deployments", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        last_cursor = cursor
    assert seen == newest_first
    other = await editor.get("/deployments", params={"limit": 2, "cursor": last_cursor, "device_id": "stb-1"})
    assert problem(other, 422, "invalid-input")["errors"][0]["field"] == "cursor"
    for wrong in ("nonsense", "W10", "WyJhIl0", "é"):
        answer = await editor.get("/deployments", params={"cursor": wrong})
        assert problem(answer, 422, "invalid-input")["errors"][0]["field"] == "cursor"


async def test_lists_are_narrowed(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")  # nobody to wait for
    first = await created(editor, name="Alpha", parameters="--fast")
    second = await created(editor, name="beta", device_id="stb-2", script_name="zap.py")
    await editor.post(f"/deployments/{second['id']}/pause")

    async def names(**filters: object) -> list[str]:
        answer = await editor.get("/deployments", params={key: str(value) for key, value in filters.items()})
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]

    assert await names(status="paused") == ["beta"]
    assert await names(device_id="stb-1") == ["Alpha"]
    assert await names(script_name="zap.py") == ["beta"]
    assert await names(host_name="lab-2") == []
    assert await names(q="ALPH") == ["Alpha"]
    assert await names(q="FAST") == ["Alpha"]
    await editor.delete(f"/deployments/{first['id']}")
    assert await names() == ["beta"]
    assert await names(deleted=True) == ["beta", "Alpha"]
    assert (await editor.get(f"/deployments/{first['id']}")).json()["deleted_at"] is not None
    for unknown in ({"colour": "red"}, {"limit": 501}, {"limit": 0}, {"status": "sleepy"}, {"q": "a\0"}):
        answer = await editor.get("/deployments", params=unknown)
        field = problem(answer, 422, "invalid-input")["errors"][0]["field"]
        assert field.split("[")[0] == next(iter(unknown))


async def test_an_edit_raises_the_version_and_a_stale_one_is_refused(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, max_executions=5, parameters="--a")
    path = f"/deployments/{made['id']}"
    edited = await editor.patch(
        path,
        json={"cron_expression": "5 4 * * *", "max_executions": None, "parameters": None},
        headers={"If-Match": '"1"'},
    )
    assert edited.status_code == 200
    body = edited.json()
    assert (body["version"], edited.headers["etag"]) == (2, '"2"')
    assert (body["cron_expression"], body["max_executions"], body["parameters"]) == ("5 4 * * *", None, None)
    assert (at(body["next_fire_at"]).hour, at(body["next_fire_at"]).minute) == (4, 5)
    problem(await editor.patch(path, json={"name": "late"}, headers={"If-Match": '"1"'}), 412, "stale-version")
    problem(await editor.delete(path, headers={"If-Match": '"1"'}), 412, "stale-version")
    assert (await editor.patch(path, json={"name": "any"}, headers={"If-Match": "*"})).json()["version"] == 3
    assert (await editor.patch(path, json={"name": "any"})).json()["version"] == 3  # nothing changed
    versions = api.database.execute("SELECT version, cron_expression FROM deployment_versions ORDER BY version")
    assert versions == [(1, "*/10 * * * *"), (2, "5 4 * * *"), (3, "5 4 * * *")]


BAD_EDITS: list[tuple[dict[str, Any], str]] = [
    ({"host_name": "lab-2"}, "host_name"),
    ({"status": "active"}, "status"),
    ({"cron_expression": "61 * * * *"}, "cron_expression"),
    ({"cron_expression": None}, "cron_expression"),
    ({"name": None}, "name"),
    ({"name": "other"}, "name"),
    ({"end_date": "2020-01-01T00:00:00Z"}, "end_date"),
    ({"cron_expresion": "* * * * *"}, "cron_expresion"),
]


async def test_a_bad_edit_changes_nothing(editor: httpx.AsyncClient) -> None:
    await created(editor, name="other")
    made = await created(editor, name="mine")
    for change, field in BAD_EDITS:
        refused = problem(await editor.patch(f"/deployments/{made['id']}", json=change), 422, "invalid-input")
        assert refused["errors"][0]["field"] == field
        assert refused["errors"][0]["message"]
    assert (await editor.get(f"/deployments/{made['id']}")).json() == made


async def test_an_edit_swallows_no_fire_that_was_due_before_it(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    shift_past_next_fire(api, made)
    edited = (await editor.patch(f"/deployments/{made['id']}", json={"cron_expression": "0 0 1 1 *"})).json()
    # The fire of the old rule was decided in the edit's transaction, under the old version.
    assert api.executions(made["id"]) == [("triggered", None, "cron", 1)]
    ((_, trigger),) = api.outbox()
    assert (trigger["scheduled_at"], trigger["version"]) == (made["next_fire_at"], 1)
    assert (edited["version"], at(edited["next_fire_at"]).month) == (2, 1)
    (row,) = api.database.execute("SELECT next_due_at = next_fire_at FROM deployments")
    assert row == (True,)


async def test_a_fire_that_was_due_before_a_pause_is_decided_too(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    shift_past_next_fire(api, made)
    paused = (await editor.post(f"/deployments/{made['id']}/pause")).json()
    assert (paused["status"], paused["next_fire_at"]) == ("paused", None)
    assert api.executions(made["id"]) == [("triggered", None, "cron", 1)]


async def test_paused_time_is_not_missed(api: Api, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "WAIT_SECONDS", 20.0)
    await until_acknowledgements_are_heard(api)
    api.database.execute("UPDATE hosts SET last_seen_at = ledger.now() + interval '1 year'")
    api.answer_commands()
    made = await created(editor)
    path = f"/deployments/{made['id']}"
    paused = await editor.post(f"{path}/pause", json={"reason": "box is out"})
    assert paused.status_code == 200
    body = paused.json()
    assert (body["status"], body["status_reason"], body["status_by"]) == ("paused", "box is out", "editor-token")
    assert (body["host_acknowledged"], body["version"], paused.headers["etag"]) == (True, 2, '"2"')
    assert paused.elapsed < timedelta(seconds=10)  # told by the notification, not found at the end of the wait
    problem(await editor.post(f"{path}/pause"), 409, "wrong-state")
    ((kind, fence),) = api.outbox()
    assert (kind, fence["version"], fence["reason"], fence["deployment_id"]) == (
        "command.fence.v1",
        2,
        "paused",
        made["id"],
    )
    shift_now(api.database, 7200)
    resumed = (await editor.post(f"{path}/resume")).json()
    assert (resumed["status"], resumed["status_reason"], resumed["host_acknowledged"]) == ("active", None, True)
    assert at(resumed["next_fire_at"]) - at(made["next_fire_at"]) >= timedelta(hours=2) - timedelta(minutes=10)
    assert api.executions(made["id"]) == []
    problem(await editor.post(f"{path}/resume"), 409, "wrong-state")


async def test_a_host_that_is_offline_acknowledges_nothing(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    made = await created(editor)
    answer = await editor.post(f"/deployments/{made['id']}/stop")
    assert answer.json()["host_acknowledged"] is False


async def test_a_host_that_does_not_answer_is_waited_for_two_seconds(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    answer = await editor.post(f"/deployments/{made['id']}/stop")
    assert answer.json()["host_acknowledged"] is False
    assert answer.elapsed >= timedelta(seconds=1.9)


async def test_stopped_is_for_good(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    made = await created(editor)
    path = f"/deployments/{made['id']}"
    assert (await editor.post(f"{path}/stop")).json()["status"] == "stopped"
    for action in ("pause", "resume", "stop", "run"):
        problem(await editor.post(f"{path}/{action}"), 409, "wrong-state")
    problem(await editor.patch(path, json={"name": "new"}), 409, "wrong-state")
    deleted = (await editor.delete(path)).json()
    assert (deleted["status"], deleted["deleted_at"] is not None, deleted["version"]) == ("stopped", True, 3)
    assert (await editor.delete(path)).json()["version"] == 3
    assert [body["reason"] for _, body in api.outbox()] == ["stopped", "deleted"]


async def test_run_now_counts_against_the_limit(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, max_executions=1)
    path = f"/deployments/{made['id']}"
    run = await editor.post(f"{path}/run")
    assert run.status_code == 202
    body = run.json()
    assert (body["status"], body["kind"], body["triggered_by"]) == ("triggered", "manual", "editor-token")
    assert body["lateness"] == dict.fromkeys(("publish", "queue", "admission", "wait", "spawn")) | {"claim": 0.0}
    ((kind, trigger),) = api.outbox()
    assert (kind, trigger["execution_id"]) == ("trigger.v1", body["id"])
    assert at(trigger["not_after"]) - at(trigger["scheduled_at"]) == timedelta(seconds=600)
    problem(await editor.post(f"{path}/run"), 409, "limit-reached")


async def test_a_paused_deployment_can_be_run(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    made = await created(editor, catch_up="none")
    await editor.post(f"/deployments/{made['id']}/pause")
    run = await editor.post(f"/deployments/{made['id']}/run")
    assert run.status_code == 202
    trigger = api.outbox()[-1][1]
    assert (trigger["version"], trigger["execution_id"]) == (2, run.json()["id"])
    assert at(trigger["not_after"]) - at(trigger["scheduled_at"]) == timedelta(seconds=60)


async def test_nothing_fires_by_an_edit_while_firing_is_held(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    api.database.execute("UPDATE epoch SET firing = false")
    problem(await editor.post(f"/deployments/{made['id']}/run"), 503, "unavailable")
    shift_now(api.database, 600)
    answer = await editor.patch(f"/deployments/{made['id']}", json={"name": "x"})
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert api.executions(made["id"]) == []
