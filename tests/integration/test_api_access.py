"""Who may do what: tokens, roles, teams; and that every refusal is a problem."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from libs.ledger.tokens import make
from services.api.app import create_app
from tests.support.api import AT_STB_1, EVERY_TEN, Api, created, problem, settings_for
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async
from tests.support.wire import Wire


async def test_without_a_valid_token_there_is_nothing(api: Api) -> None:
    expired, revoked = api.database.token(api.team, "viewer"), api.database.token(api.team, "viewer")
    good = api.database.token(api.team, "viewer")
    api.database.execute("UPDATE api_tokens SET expires_at = ledger.now() WHERE prefix = %s", (expired.split("_")[1],))
    api.database.execute("UPDATE api_tokens SET revoked_at = ledger.now() WHERE prefix = %s", (revoked.split("_")[1],))
    forged = f"{good[:-2]}{'A' if good[-2] != 'A' else 'B'}{good[-1]}"
    for token in (None, "nonsense", "rb_é", make(bytes(36)).token, forged, expired, revoked):
        client = await api.client(None)
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        answer = await client.get("/deployments", headers=headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await (await api.client(good)).get("/deployments")).status_code == 200


async def test_a_revoked_token_ends_within_five_seconds(api: Api) -> None:
    viewer = await api.of_role("viewer")
    assert (await viewer.get("/deployments")).status_code == 200
    api.database.execute("UPDATE api_tokens SET revoked_at = ledger.now()")

    async def is_refused() -> bool:
        return (await viewer.get("/deployments")).status_code == 401

    await until_async(is_refused, within=5)


async def test_a_role_may_do_what_lesser_roles_may_and_no_more(api: Api) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    viewer, editor, admin = [await api.of_role(role) for role in ("viewer", "editor", "admin")]
    operator = await api.client(api.database.token(None, "operator"))
    made = await created(editor)
    path = f"/deployments/{made['id']}"
    for client in (viewer, editor, admin, operator):
        assert (await client.get(path)).status_code == 200
    problem(await viewer.post("/deployments", json={**EVERY_TEN, **AT_STB_1}), 403, "forbidden")
    for refused in (await viewer.patch(path, json={}), await viewer.post(f"{path}/pause"), await viewer.delete(path)):
        problem(refused, 403, "forbidden")
    problem(await editor.post("/hosts", json={"name": "lab-2"}), 403, "forbidden")
    problem(await editor.delete("/hosts/lab-1"), 403, "forbidden")
    assert (await admin.delete("/hosts/lab-1")).status_code == 200


async def test_a_host_gets_nothing(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    host = await api.of_role("host", host="lab-1")
    for path in ("/deployments", f"/deployments/{made['id']}", "/executions", "/hosts", "/scripts", "/cron/presets"):
        problem(await host.get(path), 403, "forbidden")
    problem(await host.post(f"/deployments/{made['id']}/run"), 403, "forbidden")


async def test_another_team_sees_nothing_and_changes_nothing(api: Api, editor: httpx.AsyncClient) -> None:
    other = await api.of_role("admin", api.database.team("other"))
    made = await created(editor)
    run = (await editor.post(f"/deployments/{made['id']}/run")).json()
    path = f"/deployments/{made['id']}"
    for answer in (
        await other.get(path),
        await other.patch(path, json={"name": "x"}),
        await other.delete(path),
        await other.post(f"{path}/pause"),
        await other.post(f"{path}/run"),
        await other.get(f"{path}/executions"),
        await other.get(f"/executions/{run['id']}"),
        await other.get(f"/executions/{run['id']}/log"),
        await other.post(f"/executions/{run['id']}/cancel"),
        await other.delete("/hosts/lab-1"),
    ):
        problem(answer, 404, "not-found")
    for name in ("deployments", "executions", "hosts", "scripts"):
        assert (await other.get(f"/{name}")).json() == {"items": [], "next": None}
    refused = problem(await other.post("/deployments", json={**EVERY_TEN, **AT_STB_1}), 422, "invalid-input")
    assert refused["errors"][0]["field"] == "host_name"
    assert (await editor.get(path)).json()["version"] == 1


async def test_a_shared_host_serves_both_teams_apart(api: Api, editor: httpx.AsyncClient) -> None:
    friends = api.database.team("friends")
    api.database.execute("UPDATE hosts SET shared_teams = ARRAY[%s::uuid], last_seen_at = NULL", (friends,))
    friend = await api.of_role("admin", friends)
    theirs, ours = await created(friend), await created(editor)
    assert theirs["team_id"] == str(friends)
    assert [one["id"] for one in (await friend.get("/deployments")).json()["items"]] == [theirs["id"]]
    problem(await friend.get(f"/deployments/{ours['id']}"), 404, "not-found")
    problem(await friend.delete("/hosts/lab-1"), 404, "not-found")
    assert (await friend.post(f"/deployments/{theirs['id']}/stop")).status_code == 200


async def test_an_operator_sees_all_teams(api: Api, editor: httpx.AsyncClient) -> None:
    await created(editor)
    operator = await api.client(api.database.token(None, "operator"))
    assert len((await operator.get("/deployments")).json()["items"]) == 1
    assert (await created(operator))["team_id"] == str(api.team)


async def test_every_refusal_is_a_problem(api: Api, editor: httpx.AsyncClient) -> None:
    problem(await editor.get("/nothing"), 404, "not-found")
    problem(await editor.get("http://api/elsewhere"), 404, "not-found")
    problem(await editor.get("/deployments/not-a-uuid"), 404, "not-found")
    missing = "00000000-0000-7000-8000-000000000000"
    problem(await editor.get(f"/deployments/{missing}"), 404, "not-found")
    problem(await editor.get(f"/executions/{missing}"), 404, "not-found")
    refused = await editor.put("/deployments")
    problem(refused, 405, "not-found")
    assert refused.headers["allow"]
    as_json = {"Content-Type": "application/json"}
    for broken in (b"{", b'{"a": }', b"\xff\xfe", b"[" * 100_000):
        problem(await editor.post("/deployments", content=broken, headers=as_json), 400, "malformed")
    for wrong in (b"[]", b"7", b'"text"', b"null", b""):
        answer = await editor.post("/deployments", content=wrong, headers=as_json)
        assert problem(answer, 422, "invalid-input")["errors"][0]["field"] == "$"
    answer = await editor.post("/deployments", content=json.dumps({**EVERY_TEN, **AT_STB_1}))
    assert "application/json" in problem(answer, 422, "invalid-input")["errors"][0]["hint"]
    large = json.dumps({"name": "x" * (1 << 20)}).encode()
    problem(await editor.post("/deployments", content=large, headers=as_json), 413, "too-large")


async def test_a_database_that_is_away_is_503_and_comes_back(ledger_database: LedgerDatabase, tmp_path: Path) -> None:
    token = ledger_database.token(ledger_database.team("lab"), "viewer")
    parts = urlsplit(ledger_database.api_url)
    wire = Wire(parts.port or 0)
    await wire.mend()
    await wire.cut()  # away from the beginning
    url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{wire.port}{parts.path}"
    app = create_app(settings_for(replace(ledger_database, api_url=url), tmp_path))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://api/api/v1", headers={"Authorization": f"Bearer {token}"}
        ) as client,
    ):

        async def is_there() -> bool:
            return (await client.get("/deployments")).status_code == 200

        try:
            for _ in range(2):
                answer = await client.get("/deployments")
                problem(answer, 503, "unavailable")
                assert int(answer.headers["retry-after"]) > 0
                assert (await client.get("http://api/livez")).status_code == 200
                ready = await client.get("http://api/readyz")
                assert (ready.status_code, ready.json()["checks"]["database"]) == (503, False)
                await wire.mend()
                await until_async(is_there, within=10)
                await wire.cut()
        finally:
            await wire.cut()


async def test_what_nobody_foresaw_is_500_and_says_nothing_of_itself(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    api.database.execute("ALTER TABLE deployments RENAME COLUMN updated_at TO altered_at")
    answer = await editor.get(f"/deployments/{made['id']}")
    refused = problem(answer, 500, "unavailable")
    assert "altered" not in answer.text
    assert refused["errors"] == []


async def test_the_description_for_programs_is_served(api: Api) -> None:
    client = await api.client(None)
    document = (await client.get("http://api/openapi.json")).json()
    assert "/api/v1/deployments/{deployment_id}/pause" in document["paths"]
    assert (await client.get("http://api/docs")).status_code == 200
    assert b"rigbeat_http_request_seconds" in (await client.get("http://api/metrics")).content
