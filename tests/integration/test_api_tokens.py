"""Tokens: made, shown once, used, taken back; who may give what to whom."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from services.api.failed_tries import MOST_A_MINUTE
from tests.support.api import Api, created, problem, until_open
from tests.support.ledger import shift_now
from tests.support.wait import until_async

NEW = {"name": "ann's laptop", "role": "editor"}


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.of_role("admin")


@pytest.fixture
async def operator(api: Api) -> httpx.AsyncClient:
    return await api.client(api.database.token(None, "operator"))


async def made(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/tokens", json={**NEW, **fields})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_token_is_shown_once_works_and_is_taken_back_at_once(api: Api, admin: httpx.AsyncClient) -> None:
    whole = await made(admin)
    token, secret = whole["token"], whole["secret"]
    assert (token["name"], token["role"], token["team_id"]) == ("ann's laptop", "editor", str(api.team))
    assert (token["created_by"], token["last_used_at"], token["revoked_at"]) == ("admin-token", None, None)
    assert secret.startswith(f"rb_{token['prefix']}_")
    holder = await api.client(secret)
    assert (await holder.get("/deployments")).status_code == 200
    listed = await admin.get("/tokens")
    assert secret not in listed.text
    assert secret.rsplit("_", 1)[1] not in listed.text
    [seen] = [one for one in listed.json()["items"] if one["id"] == token["id"]]
    assert seen["last_used_at"] is not None
    revoked = await admin.delete(f"/tokens/{token['id']}")
    assert revoked.json()["revoked_at"] is not None
    # The very next request, without a moment of grace.
    problem(await holder.get("/deployments"), 401, "unauthenticated")
    assert (await admin.delete(f"/tokens/{token['id']}")).json() == revoked.json()
    assert token["id"] not in [one["id"] for one in (await admin.get("/tokens")).json()["items"]]
    assert token["id"] in [one["id"] for one in (await admin.get("/tokens?ended=true")).json()["items"]]
    audit = api.database.execute("SELECT actor, action, resource FROM audit_log ORDER BY id")
    resource = f"token/{token['prefix']}"
    assert audit == [("admin-token", "create", resource), ("admin-token", "revoke", resource)]


async def test_it_expires(api: Api, admin: httpx.AsyncClient) -> None:
    whole = await made(admin, expires_in_seconds=600)
    holder = await api.client(whole["secret"])
    shift_now(api.database, 590)
    assert (await holder.get("/deployments")).status_code == 200
    shift_now(api.database, 601)
    refused = problem(await holder.get("/deployments"), 401, "unauthenticated")
    assert "expired" in refused["detail"]


async def test_its_last_use_is_noted_to_the_minute(api: Api, admin: httpx.AsyncClient) -> None:
    whole = await made(admin)
    holder = await api.client(whole["secret"])

    async def last_used() -> str:
        [seen] = [one for one in (await admin.get("/tokens")).json()["items"] if one["id"] == whole["token"]["id"]]
        return str(seen["last_used_at"])

    await holder.get("/deployments")
    first = await last_used()
    shift_now(api.database, 50)
    await holder.get("/deployments")
    assert await last_used() == first
    shift_now(api.database, 62)
    await holder.get("/deployments")
    assert await last_used() > first


@pytest.mark.parametrize(
    ("giver", "role", "may"),
    [
        ("viewer", "viewer", False),
        ("editor", "viewer", False),
        ("admin", "viewer", True),
        ("admin", "admin", True),
        ("admin", "operator", False),
        ("operator", "operator", True),
        ("operator", "admin", True),
    ],
)
async def test_nobody_gives_more_than_he_has(api: Api, giver: str, role: str, *, may: bool) -> None:
    client = await api.of_role(giver)
    answer = await client.post("/tokens", json={**NEW, "role": role})
    if may:
        assert answer.status_code == 201, answer.text
    else:
        problem(answer, 403, "forbidden")


async def test_an_admin_sees_and_ends_neither_another_teams_tokens_nor_an_operators(
    api: Api, admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    other = api.database.team("other")
    theirs = (await made(operator, team_id=str(other)))["token"]
    of_all = (await made(operator, role="operator"))["token"]
    assert (theirs["team_id"], of_all["team_id"]) == (str(other), None)
    # In the admin's own team, and still no business of his.
    of_team = (await made(operator, role="operator", team_id=str(api.team)))["token"]
    seen = {one["id"] for one in (await admin.get("/tokens?ended=true")).json()["items"]}
    assert not seen & {theirs["id"], of_all["id"], of_team["id"]}
    for token in (theirs, of_all, of_team):
        problem(await admin.delete(f"/tokens/{token['id']}"), 404, "not-found")
    problem(await admin.post("/tokens", json={**NEW, "team_id": str(other)}), 422, "invalid-input")
    assert {theirs["id"], of_all["id"]} <= {one["id"] for one in (await operator.get("/tokens")).json()["items"]}


async def test_an_address_that_tries_in_vain_is_told_to_wait_and_shuts_nobody_out(
    api: Api, admin: httpx.AsyncClient
) -> None:
    assert (await admin.get("/tokens")).status_code == 200
    stranger = await api.client("rb_00000000_" + "A" * 43)
    for _ in range(MOST_A_MINUTE):
        problem(await stranger.get("/deployments"), 401, "unauthenticated")
    refused = await stranger.get("/deployments")
    problem(refused, 429, "too-many")
    assert int(refused.headers["retry-after"]) > 0
    assert (await admin.get("/tokens")).status_code == 200, "the same address, a token that was good before"


@pytest.mark.parametrize("path", ["/events", "/executions/{id}/log?follow=true"])
async def test_an_open_stream_ends_with_its_token(
    api: Api, admin: httpx.AsyncClient, editor: httpx.AsyncClient, path: str
) -> None:
    deployment = await created(editor)
    run = (await editor.post(f"/deployments/{deployment['id']}/run")).json()
    whole = await made(admin, role="viewer")
    holder = await api.client(whole["secret"])

    async def read() -> int:
        # Without a socket an answer comes only when it is whole: that it comes is the end.
        return (await holder.get(path.replace("{id}", run["id"]))).status_code

    reading = asyncio.create_task(read())
    await until_open(api, 1)
    assert not reading.done(), "open as long as the token is good"
    await admin.delete(f"/tokens/{whole['token']['id']}")

    async def has_ended() -> bool:
        return reading.done()

    await until_async(has_ended, within=10, what="the stream ended")
    assert reading.result() == 200


async def test_an_operator_makes_teams_and_each_sees_its_own(
    api: Api, admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    problem(await admin.post("/teams", json={"name": "mine"}), 403, "forbidden")
    new = await operator.post("/teams", json={"name": "routers"})
    assert new.status_code == 201
    problem(await operator.post("/teams", json={"name": "routers"}), 409, "wrong-state")
    assert [(one["name"], one["own"]) for one in (await admin.get("/teams")).json()["items"]] == [("lab", True)]
    assert not any(one["own"] for one in (await operator.get("/teams")).json()["items"]), "it is of no team"
    assert [one["name"] for one in (await operator.get("/teams")).json()["items"]] == ["lab", "routers"]
    theirs = await api.client((await made(operator, team_id=new.json()["id"], role="admin"))["secret"])
    assert [one["name"] for one in (await theirs.get("/teams")).json()["items"]] == ["routers"]
    assert (await theirs.get("/deployments")).json() == {"items": [], "next": None}
