"""Copies of deployments, whatever became of the original."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.support.api import Api, created, problem

ALL_FIELDS: dict[str, Any] = {
    "parameters": "--limit 2",
    "userinterface_name": "demo",
    "cron_expression": "5 4 * * *",
    "timezone": "Europe/Berlin",
    "start_date": "2020-01-01T00:00:00Z",
    "end_date": "2099-01-01T00:00:00Z",
    "max_executions": 7,
    "catch_up": "all",
    "catch_up_window_seconds": 1200,
    "on_device_busy": "queue",
    "max_wait_seconds": 60,
    "timeout_seconds": 90.5,
    "silence_timeout_seconds": 30.0,
}


async def copied(client: httpx.AsyncClient, deployment: dict[str, Any], **fields: object) -> dict[str, Any]:
    answer = await client.post(f"/deployments/{deployment['id']}/copy", json=fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["etag"] == '"1"'
    return made


async def test_a_copy_takes_everything_but_what_is_given(api: Api, editor: httpx.AsyncClient) -> None:
    source = await created(editor, name="first", **ALL_FIELDS)
    bare = await editor.post(f"/deployments/{source['id']}/copy")
    assert bare.status_code == 201, bare.text
    whole = bare.json()
    anew = {"id", "name", "next_fire_at", "created_at", "updated_at"}
    assert {name for name in source if source[name] != whole[name]} <= anew
    assert whole["name"].startswith("health_")
    other = await copied(
        editor,
        source,
        name="second",
        device_id="stb-2",
        script_name="zap.py",
        max_executions=None,
        end_date=None,
        cron_expression="H 5 * * *",
    )
    differs = {name for name in source if source[name] != other[name]} - anew
    assert differs == {"device_id", "script_name", "max_executions", "end_date", "cron_expression", "description"}
    assert other["cron_expression"].split()[0].isdecimal()
    assert api.notices()[1:] == [
        ("created", "active", "copied from first", "editor-token"),
        ("created", "active", "copied from first", "editor-token"),
    ]


async def test_what_is_over_or_deleted_can_be_copied_and_begins_anew(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    source = await created(editor, name="mine", max_executions=3)
    api.database.execute("UPDATE deployments SET execution_count = 3, status = 'completed', next_fire_at = NULL")
    again = await copied(editor, source)
    assert (again["status"], again["execution_count"], again["status_reason"]) == ("active", 0, None)
    assert again["next_fire_at"] is not None
    await editor.delete(f"/deployments/{source['id']}")
    once_more = await copied(editor, source, name="mine")
    assert (once_more["name"], once_more["deleted_at"]) == ("mine", None)
    versions = api.database.execute(
        "SELECT version, status FROM deployment_versions WHERE deployment_id = %s", (once_more["id"],)
    )
    assert versions == [(1, "active")]


async def test_an_end_that_has_passed_must_be_given_anew(api: Api, editor: httpx.AsyncClient) -> None:
    source = await created(editor, end_date="2099-01-01T00:00:00Z")
    api.database.execute(
        "UPDATE deployments SET status = 'expired', start_date = '2020-01-01Z', end_date = '2020-01-02Z'"
    )
    path = f"/deployments/{source['id']}/copy"
    refused = problem(await editor.post(path), 422, "invalid-input")
    assert [each["field"] for each in refused["errors"]] == ["end_date"]
    assert (await copied(editor, source, end_date=None))["end_date"] is None
    later = await copied(editor, source, end_date="2099-01-01T00:00:00Z")
    assert later["start_date"] == "2020-01-01T00:00:00Z"


async def test_a_copy_is_refused_as_a_new_one_is(api: Api, editor: httpx.AsyncClient) -> None:
    source = await created(editor, name="taken")
    path = f"/deployments/{source['id']}/copy"
    bad: list[tuple[dict[str, object], str]] = [
        ({"device_id": "stb-9"}, "device_id"),
        ({"host_name": "lab-9"}, "host_name"),
        ({"script_name": "nosuch.py"}, "script_name"),
        ({"host_name": None}, "host_name"),
        ({"name": "taken"}, "name"),
        ({"targets": []}, "targets"),
        ({"status": "paused"}, "status"),
        ({"cron_expression": "0 0 31 2 *"}, "cron_expression"),
    ]
    for fields, field in bad:
        refused = problem(await editor.post(path, json=fields), 422, "invalid-input")
        assert [each["field"] for each in refused["errors"]] == [field]
    stranger = await api.of_role("editor", api.database.team("other"))
    problem(await stranger.post(path), 404, "not-found")
    problem(await (await api.of_role("viewer")).post(path), 403, "forbidden")
    assert api.database.execute("SELECT count(*) FROM deployments") == [(1,)]


async def test_an_operators_copy_stays_in_its_team_and_on_hosts_of_it(api: Api, editor: httpx.AsyncClient) -> None:
    source = await created(editor)
    api.database.host("lab-2", api.database.team("other"), ["stb-1"], scripts=["health.py"])
    operator = await api.client(api.database.token(None, "operator"))
    assert (await copied(operator, source))["team_id"] == str(api.team)
    refused = await operator.post(f"/deployments/{source['id']}/copy", json={"host_name": "lab-2"})
    assert problem(refused, 422, "invalid-input")["errors"][0]["field"] == "host_name"
    api.database.execute("UPDATE hosts SET shared_teams = ARRAY[%s::uuid] WHERE name = 'lab-2'", (api.team,))
    assert (await copied(operator, source, host_name="lab-2"))["host_name"] == "lab-2"


async def test_the_next_fire_is_counted_from_the_copy(editor: httpx.AsyncClient) -> None:
    source = await created(editor, start_date="2020-01-01T00:00:00Z")
    made = await copied(editor, source)
    ahead = datetime.fromisoformat(made["next_fire_at"]) - datetime.fromisoformat(made["created_at"])
    assert timedelta(0) < ahead <= timedelta(minutes=10)
