"""`/server/*` for clients of the system before Rigbeat: their requests, and the envelopes that they read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.api.app import create_app
from services.api.failed_tries import FailedTries
from tests.support.api import AT_STB_1, EVERY_TEN, Api, created, refused, settings_for
from tests.support.ledger import LedgerDatabase

SERVER = "http://api/server"
UNKNOWN = "7fdeb4bb-0000-4000-8000-54769a219ce0"
COLUMNS = {
    *("id", "deployment_id", "script_result_id", "scheduled_at", "started_at", "completed_at", "status", "success"),
    *("skip_reason", "error_message", "deployments", "report_url"),
}
# As the former page sends it: a value for every parameter of the script, a name with the time in it.
NEW = {
    **EVERY_TEN,
    **AT_STB_1,
    "name": "health.py_1760616000000",
    "userinterface_name": "",
    "parameters": "--limit 2 --verbose ",
    "end_date": "2099-10-16T00:00:00.000Z",
    "max_executions": 20,
}
ON_ONE = {
    *(("PUT", "update"), ("POST", "update"), ("PATCH", "update"), ("POST", "pause"), ("PUT", "pause")),
    *(("POST", "resume"), ("PUT", "resume"), ("DELETE", "delete"), ("POST", "delete"), ("GET", "history")),
}


@pytest.fixture
def api(api: Api) -> Api:
    """With a host that nobody waits for."""
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    return api


async def make(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"{SERVER}/deployment/create", json={**NEW, **fields})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["success"], set(body)) == (True, {"success", "deployment"})
    deployment: dict[str, Any] = body["deployment"]
    return deployment


async def listed(client: httpx.AsyncClient, path: str, name: str, **params: Any) -> list[Any]:
    answer = await client.get(f"{SERVER}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["success"], set(body)) == (True, {"success", name})
    found: list[Any] = body[name]
    return found


def done(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()) == (200, {"success": True})


async def test_a_life_by_the_former_routes_is_the_one_of_the_api(api: Api, editor: httpx.AsyncClient) -> None:
    made = await make(editor, team_id=str(api.team), campaign_id=None, rerun_payload={"type": "script"})
    assert {key: made[key] for key in NEW} == {**NEW, "end_date": "2099-10-16T00:00:00Z"}
    assert (made["status"], made["execution_count"], made["team_id"]) == ("active", 0, str(api.team))
    assert (await editor.get(f"/deployments/{made['id']}")).json() == made
    assert await listed(editor, "deployment/list", "deployments", team_id=str(api.team)) == [made]

    path = f"{SERVER}/deployment"
    done(await editor.post(f"{path}/pause/{made['id']}"))
    assert (await editor.get(f"/deployments/{made['id']}")).json()["status"] == "paused"
    assert "paused already" in refused(await editor.put(f"{path}/pause/{made['id']}"), 409)
    done(await editor.post(f"{path}/resume/{made['id']}", json={}))
    assert "active already" in refused(await editor.put(f"{path}/resume/{made['id']}"), 409)

    sent = {"cron_expression": "0 2 * * *", "start_date": "", "end_date": None, "max_executions": "40"}
    edited = (await editor.put(f"{path}/update/{made['id']}", json=sent)).json()
    assert (edited["success"], set(edited)) == (True, {"success", "deployment"})
    now = edited["deployment"]
    assert (now["cron_expression"], now["end_date"], now["max_executions"]) == ("0 2 * * *", None, 40)
    assert now["parameters"] == NEW["parameters"]
    assert (await editor.get(f"/deployments/{made['id']}")).json() == now
    for method in ("POST", "PATCH"):  # a whole deployment that comes back changes nothing
        again = await editor.request(method, f"{path}/update/{made['id']}", json=now)
        assert again.json()["deployment"] == now

    done(await editor.delete(f"{path}/delete/{made['id']}"))
    done(await editor.post(f"{path}/delete/{made['id']}"))
    assert await listed(editor, "deployment/list", "deployments") == []
    assert await listed(editor, f"deployment/history/{made['id']}", "executions") == []
    assert [row[0] for row in api.database.execute("SELECT action FROM audit_log ORDER BY id")] == [
        *("create", "pause", "resume", "edit", "delete")
    ]


async def test_times_without_a_zone_are_utc_and_what_is_empty_is_not_set(editor: httpx.AsyncClient) -> None:
    empty = {"start_date": "2098-10-16 00:00", "end_date": "", "parameters": "", "max_executions": 0, "name": ""}
    made = await make(editor, **empty, userinterface_name=None, status="stopped", id="7")
    assert (made["start_date"], made["end_date"], made["parameters"]) == ("2098-10-16T00:00:00Z", None, None)
    assert (made["max_executions"], made["userinterface_name"], made["status"]) == (None, "", "active")
    assert made["name"].startswith("health_")


async def test_executions_have_the_former_columns_and_statuses(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor, name="health")
    other = await created(editor, name="other", device_id="stb-2")
    rows: dict[str, dict[str, Any]] = {
        "triggered": {},
        "queued": {},
        "running": {"started_at": "2026-11-23T10:20:00Z"},
        "completed": {"success": True, "completed_at": "2026-11-23T10:21:00Z"},
        "failed": {"success": False, "error_message": "It ended with exit code 3", "reason": "exit_code"},
        "skipped": {"reason": "already_queued", "skip_reason": "Already queued (max 1)"},
        "cancelled": {"reason": "cancelled_by_user"},
    }
    ids = []
    for status, columns in rows.items():
        run = (await editor.post(f"/deployments/{deployment['id']}/run")).json()
        ids.append(run["id"])
        for column, value in {"status": status, **columns}.items():
            api.database.execute(f"UPDATE deployment_executions SET {column} = %s WHERE id = %s", (value, run["id"]))
    host = await api.of_role("host", host="lab-1")
    for name in ("report.html", "junit.xml"):
        sent = await host.put(f"/executions/{ids[3]}/artifacts/{name}", content=b"<p>")
        assert sent.is_success, sent.text
    elsewhere = (await editor.post(f"/deployments/{other['id']}/run")).json()["id"]

    found = await listed(editor, f"deployment/history/{deployment['id']}", "executions")
    assert {one["id"] for one in found} == set(ids)
    assert found == sorted(found, key=lambda one: str(one["id"]), reverse=True)
    told = {one["id"]: (one["status"], one["success"], one["skip_reason"], one["error_message"]) for one in found}
    assert [told[each] for each in ids] == [
        ("queued", None, None, None),
        ("queued", None, None, None),
        ("running", None, None, None),
        ("completed", True, None, None),
        ("failed", False, None, "It ended with exit code 3"),
        ("skipped", None, "Already queued (max 1)", None),
        ("failed", False, None, "It was cancelled"),
    ]
    for one in found:
        assert set(one) == COLUMNS
        assert one["deployment_id"] == deployment["id"]
        assert one["deployments"] == {
            **AT_STB_1,
            "name": "health",
            "script_name": "health.py",
            "team_id": str(api.team),
        }
        assert one["scheduled_at"].endswith("Z")
        assert one["report_url"] == (f"/api/v1/executions/{ids[3]}/report" if one["id"] == ids[3] else None)
    report = await editor.get(f"http://api/api/v1/executions/{ids[3]}/report", follow_redirects=True)
    assert report.content == b"<p>"

    recent = await listed(editor, "deployment/executions/recent", "executions", device_filter="[]")
    assert {one["id"] for one in recent} == {*ids, elsewhere}
    assert [one for one in recent if one["id"] != elsewhere] == found
    for path in ("deployment/executions/recent", f"deployment/history/{deployment['id']}"):
        assert len(await listed(editor, path, "executions", limit=2)) == 2
        refused(await editor.get(f"{SERVER}/{path}", params={"limit": 501}), 422)


async def test_lists_are_whole(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.host("lab-2", api.team, ["stb-1"], scripts=["zap.py", "soak.py"])
    assert await listed(editor, "script/list", "scripts") == ["health.py", "soak.py", "zap.py"]
    made = await created(editor)
    api.database.execute(
        "INSERT INTO deployments SELECT (jsonb_populate_record(d, jsonb_build_object("
        "'id', gen_random_uuid(), 'name', d.name || n))).* FROM deployments d, generate_series(1, 1000) n"
    )
    found = [one["id"] for one in await listed(editor, "deployment/list", "deployments")]
    assert (len(found), len(set(found)), made["id"] in found) == (1001, 1001, True)
    assert found == sorted(found, reverse=True)


async def test_team_id_is_the_tokens_own_or_any_for_an_operator(api: Api, editor: httpx.AsyncClient) -> None:
    other = api.database.team("other")
    api.database.host("lab-2", other, ["stb-1"], scripts=["soak.py"])
    made = await make(editor)
    path = f"{SERVER}/deployment"
    reads = (f"{path}/list", f"{path}/executions/recent", f"{SERVER}/script/list", f"{path}/history/{made['id']}")
    for own in (str(api.team), str(api.team).upper(), ""):
        for read in reads:
            assert (await editor.get(read, params={"team_id": own})).status_code == 200
    for foreign in (str(other), UNKNOWN, "default"):
        asked = [await editor.get(read, params={"team_id": foreign}) for read in reads]
        asked += [
            await editor.request(method, f"{path}/{word}/{made['id']}", params={"team_id": foreign}, json={})
            for method, word in ON_ONE
        ]
        asked += [
            await editor.post(f"{path}/create", params={"team_id": foreign}, json=NEW),
            await editor.post(f"{path}/create", json={**NEW, "team_id": foreign}),
            await editor.post(f"{path}/create", params={"team_id": str(api.team)}, json={**NEW, "team_id": foreign}),
            await editor.put(f"{path}/update/{made['id']}", json={"parameters": "x", "team_id": foreign}),
        ]
        for answer in asked:
            assert str(api.team) in refused(answer, 403)
    assert (await editor.get(f"/deployments/{made['id']}")).json() == made

    operator = await api.client(api.database.token(None, "operator"))
    theirs = await make(operator, host_name="lab-2", script_name="soak.py", team_id=str(other))
    assert theirs["team_id"] == str(other)
    assert len(await listed(operator, "deployment/list", "deployments")) == 2
    assert await listed(operator, "deployment/list", "deployments", team_id=str(other)) == [theirs]
    assert await listed(operator, "script/list", "scripts", team_id=str(other)) == ["soak.py"]
    assert await listed(operator, "deployment/executions/recent", "executions", team_id=str(other)) == []
    # In the team that is named, he is bound to it.
    in_other = {"team_id": str(other)}
    for method, word in ON_ONE:
        refused(await operator.request(method, f"{path}/{word}/{made['id']}", params=in_other, json={}), 404)
    assert "host_name" in refused(await operator.post(f"{path}/create", params=in_other, json=NEW), 422)
    refused(await operator.post(f"{path}/create", params=in_other, json={**NEW, "team_id": str(api.team)}), 422)
    for unknown in (UNKNOWN, "default"):
        assert refused(await operator.get(f"{path}/list", params={"team_id": unknown}), 404) == "There is no such team"
    done(await operator.post(f"{path}/pause/{made['id']}", params={"team_id": str(api.team)}))
    assert (await editor.get(f"/deployments/{made['id']}")).json()["status_by"] == "operator-token"


async def test_every_refusal_is_in_the_envelope(api: Api, editor: httpx.AsyncClient) -> None:
    made = await make(editor)
    viewer, host = await api.of_role("viewer"), await api.of_role("host", host="lab-1")
    stranger = await api.of_role("admin", api.database.team("strangers"))
    nobody, nonsense = await api.client(None), await api.client("nonsense")
    path = f"{SERVER}/deployment"
    for client in (nobody, nonsense):
        answer = await client.get(f"{path}/list")
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert "editor" in refused(await viewer.post(f"{path}/create", json=NEW), 403)
    refused(await host.get(f"{path}/list"), 403)
    for missing in ("not-a-uuid", UNKNOWN):
        for method, word in ON_ONE:
            refused(await editor.request(method, f"{path}/{word}/{missing}", json={}), 404)
    for method, word in ON_ONE:
        refused(await stranger.request(method, f"{path}/{word}/{made['id']}", json={}), 404)
    refused(await editor.get(f"{SERVER}/nothing"), 404)
    answer = await editor.get(f"{path}/create")
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"

    as_json = {"Content-Type": "application/json"}
    for method, where in (("POST", "create"), ("PUT", f"update/{made['id']}"), ("POST", f"update/{made['id']}")):
        for broken in (b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": NaN}'):
            assert "body" in refused(
                await editor.request(method, f"{path}/{where}", content=broken, headers=as_json), 400
            )
        for wrong in (b"[]", b"7", b"null", b""):
            refused(await editor.request(method, f"{path}/{where}", content=wrong, headers=as_json), 422)
        twice = b'{"name": "a", "name": "b"}'
        assert "twice" in refused(await editor.request(method, f"{path}/{where}", content=twice, headers=as_json), 422)
        large = b'{"name": "' + b"x" * (1 << 20) + b'"}'
        refused(await editor.request(method, f"{path}/{where}", content=large, headers=as_json), 413)

    told: dict[str, dict[str, Any]] = {
        "cron_expression: 25 is not an hour": {"cron_expression": "0 25 * * *"},
        "device_id: lab-1 has no device stb-9": {"device_id": "stb-9"},
        "end_date: The end has already passed": {"end_date": "2025-10-16T00:00:00Z"},
        "start_date: ": {"start_date": "next week"},
        "max_executions: ": {"max_executions": -1},
        "name: There is a deployment": {"name": made["name"]},
        "script_name: lab-1 has no script zap.pi (Did you mean zap.py?)": {"script_name": "zap.pi"},
    }
    for sentence, fields in told.items():
        assert sentence in refused(await editor.post(f"{path}/create", json={**NEW, "name": "other", **fields}), 422)
    bare = refused(await editor.post(f"{path}/create", json={"name": "x", "schedule_type": "hourly"}), 422)
    for field in ("cron_expression", "host_name", "device_id", "script_name"):
        assert f"{field}: " in bare
    fixed = {"device_id": "stb-2", "host_name": "lab-2", "script_name": "zap.py", "status": "paused"}
    for field, value in fixed.items():
        answer = await editor.put(f"{path}/update/{made['id']}", json={field: value, "parameters": "--new"})
        assert f"{field}: It is " in refused(answer, 422)
    assert (await editor.get(f"/deployments/{made['id']}")).json() == made

    api.app.state.authenticator._failures = FailedTries(1)
    unknown = await api.client("rb_00000000_" + "A" * 43)
    refused(await unknown.get(f"{path}/list"), 401)
    answer = await unknown.get(f"{path}/list")
    assert "too many" in refused(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    api.app.state.authenticator._failures = FailedTries()

    api.database.execute("ALTER TABLE deployments RENAME COLUMN updated_at TO altered_at")
    assert "altered" not in refused(await editor.get(f"{path}/list"), 500)


async def test_without_the_database_it_is_503(ledger_database: LedgerDatabase, tmp_path: Path) -> None:
    away = replace(ledger_database, api_url="postgresql://rigbeat_api:-@127.0.0.1:1/nothing")
    app = create_app(settings_for(away, tmp_path))
    token = ledger_database.token(ledger_database.team("lab"), "viewer")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        answer = await client.get(f"{SERVER}/deployment/list")
        assert "database is away" in refused(answer, 503)
        assert int(answer.headers["retry-after"]) > 0


async def test_the_document_has_them_apart_with_examples_and_the_envelope_of_refusals(api: Api) -> None:
    document = (await (await api.client(None)).get("http://api/openapi.json")).json()
    theirs = {path: found for path, found in document["paths"].items() if path.startswith("/server/")}
    assert {path.removeprefix("/server/").removesuffix("/{deployment_id}") for path in theirs} == {
        *("deployment/create", "deployment/update", "deployment/list", "deployment/pause", "deployment/resume"),
        *("deployment/delete", "deployment/history", "deployment/executions/recent", "script/list"),
    }
    schemas = document["components"]["schemas"]
    for path, methods in theirs.items():
        [(method, operation)] = methods.items()
        assert operation["tags"] == ["clients of the former system"]
        assert operation["summary"]
        assert "412" not in operation["responses"], path
        assert {"401", "403", "404", "422", "429", "503"} <= set(operation["responses"])
        assert ("400" in operation["responses"]) is (method != "get")
        for status, answer in operation["responses"].items():
            [(media_type, told)] = answer["content"].items()
            assert media_type == "application/json"
            shape = schemas[told["schema"]["$ref"].split("/")[-1]] if status == "200" else told["schema"]
            assert [example["success"] for example in shape["examples"]] == [status == "200"], (path, status)
        if body := operation.get("requestBody"):
            assert schemas[body["content"]["application/json"]["schema"]["$ref"].split("/")[-1]]["examples"]
    others = document["paths"]["/api/v1/deployments/{deployment_id}"]["patch"]["responses"]
    assert list(others["412"]["content"]) == ["application/problem+json"]
