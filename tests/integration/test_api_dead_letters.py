"""Dead letters over HTTP: seen by their team, run again once, closed or dropped; of no team, the operator's."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid5

import httpx
import pytest

from tests.support.api import Api, created, problem
from tests.support.ingest import trigger_message

_SPACE = UUID(int=7)


def letter(
    api: Api,
    number: int,
    *,
    body: bytes = b"{}",
    type_: str | None = "trigger.v1",
    team: UUID | None = None,
    **columns: Any,
) -> str:
    """A dead letter of the team (or of `team`); later ones have higher numbers."""
    identity = UUID(int=number << 80 | 7 << 76 | 2 << 62)
    values = {
        "queue": "host.lab-1.triggers",
        "reason": "expired",
        "host_name": "lab-1",
        "body_size": len(body),
    } | columns
    names = ", ".join(values)
    api.database.execute(
        f"INSERT INTO dead_letters (id, type, team_id, body, headers, {names})"
        f' VALUES (%s, %s, %s, %s, \'{{"x-dead-reason": "expired"}}\', {", ".join(["%s"] * len(values))})',
        (identity, type_, team or api.team, body, *values.values()),
    )
    return str(identity)


async def test_letters_are_listed_and_shown(api: Api, editor: httpx.AsyncClient) -> None:
    first = letter(api, 1, body=b"\xff\0", type_=None, host_name=None)
    second = letter(api, 2, body=b'{"a": "\xc3\xa9"}', body_size=100)
    other = api.database.team("other")
    theirs = letter(api, 3, team=other)
    nobodys = letter(api, 4)
    api.database.execute("UPDATE dead_letters SET team_id = NULL WHERE id = %s", (nobodys,))
    listed = (await editor.get("/dead-letters")).json()["items"]
    assert [one["id"] for one in listed] == [second, first]
    assert listed[0].keys() >= {"queue", "reason", "type", "state", "requeued_as"}
    assert "body" not in listed[0]
    operator = await api.client(api.database.token(None, "operator"))
    assert [one["id"] for one in (await operator.get("/dead-letters")).json()["items"]] == [
        nobodys,
        theirs,
        second,
        first,
    ]
    assert [one["id"] for one in (await editor.get("/dead-letters?host_name=lab-1")).json()["items"]] == [second]
    assert (await editor.get("/dead-letters?state=closed&type=trigger.v1")).json()["items"] == []
    page = (await editor.get("/dead-letters?limit=1")).json()
    rest = (await editor.get("/dead-letters", params={"limit": 1, "cursor": page["next"]})).json()
    assert [one["items"][0]["id"] for one in (page, rest)] == [second, first]
    problem(await editor.get("/dead-letters?state=lost"), 422, "invalid-input")
    problem(await editor.get("/dead-letters?name=x"), 422, "invalid-input")

    shown = (await editor.get(f"/dead-letters/{second}")).json()
    assert (shown["body"], shown["body_encoding"], shown["truncated"]) == ('{"a": "é"}', "utf-8", True)
    assert shown["headers"] == {"x-dead-reason": "expired"}
    raw = (await editor.get(f"/dead-letters/{first}")).json()
    assert (raw["body"], raw["body_encoding"], raw["truncated"]) == ("/wA=", "base64", False)
    problem(await editor.get(f"/dead-letters/{theirs}"), 404, "not-found")
    assert (await operator.get(f"/dead-letters/{nobodys}")).status_code == 200


async def test_a_dead_trigger_runs_again_once(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor)
    died = trigger_message(uuid5(_SPACE, "run"), UUID(deployment["id"]))
    dead = letter(api, 1, body=died.model_dump_json().encode())
    problem(await (await api.of_role("viewer")).post(f"/dead-letters/{dead}/requeue"), 403, "forbidden")
    answer = await editor.post(f"/dead-letters/{dead}/requeue")
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert (run["kind"], run["status"], run["triggered_by"]) == ("manual", "triggered", "editor-token")
    assert run["id"] != str(died.execution_id), "the old message is never sent again"
    shown = (await editor.get(f"/dead-letters/{dead}")).json()
    assert (shown["state"], shown["requeued_as"], shown["requeued_by"]) == ("requeued", run["id"], "editor-token")
    again = problem(await editor.post(f"/dead-letters/{dead}/requeue"), 409, "wrong-state")
    assert run["id"] in again["detail"]
    problem(await editor.post(f"/dead-letters/{dead}/close"), 409, "wrong-state")
    assert [kind for kind, _ in api.outbox() if kind == "trigger.v1"] == ["trigger.v1"]
    actions = api.database.execute("SELECT action, resource, detail FROM audit_log ORDER BY id DESC LIMIT 1")
    assert actions == [("requeue", f"dead-letter/{dead}", {"execution_id": run["id"]})]


@pytest.mark.parametrize(
    ("type_", "body", "says"),
    [
        ("execution.finished.v1", b"{}", "Only a trigger can run again; this is execution.finished.v1"),
        (None, b"{}", "a message without a type"),
        ("trigger.v1", b"{", "cannot be read"),
        ("trigger.v1", None, "is not known"),
    ],
)
async def test_what_cannot_run_again_can_be_closed(
    api: Api, editor: httpx.AsyncClient, type_: str | None, body: bytes | None, says: str
) -> None:
    unknown = trigger_message(uuid5(_SPACE, "run"), uuid5(_SPACE, "nobody's")).model_dump_json().encode()
    dead = letter(api, 1, body=unknown if body is None else body, type_=type_)
    assert says in problem(await editor.post(f"/dead-letters/{dead}/requeue"), 409, "wrong-state")["detail"]
    closed = await editor.post(f"/dead-letters/{dead}/close")
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")
    problem(await editor.post(f"/dead-letters/{dead}/close"), 409, "wrong-state")
    problem(await editor.post(f"/dead-letters/{dead}/requeue"), 409, "wrong-state")
    assert api.database.execute("SELECT count(*) FROM deployment_executions") == [(0,)]


async def test_what_ended_for_good_does_not_run_again(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor)
    api.answer_commands()
    assert (await editor.post(f"/deployments/{deployment['id']}/stop")).status_code == 200
    body = trigger_message(uuid5(_SPACE, "run"), UUID(deployment["id"])).model_dump_json().encode()
    dead = letter(api, 1, body=body)
    assert "stopped" in problem(await editor.post(f"/dead-letters/{dead}/requeue"), 409, "wrong-state")["detail"]
    assert (await editor.get(f"/dead-letters/{dead}")).json()["state"] == "open"
    stranger = await api.of_role("editor", api.database.team("other"))
    for doing in ("requeue", "close", "drop"):
        problem(await stranger.post(f"/dead-letters/{dead}/{doing}"), 404, "not-found")
    assert json.loads(body)["deployment_id"] == deployment["id"]


@pytest.mark.parametrize(("doing", "state"), [("close", "closed"), ("drop", "dropped")])
async def test_what_is_settled_stays_and_says_who_and_why(
    api: Api, editor: httpx.AsyncClient, doing: str, state: str
) -> None:
    dead = letter(api, 1, body=b"{")
    problem(await (await api.of_role("viewer")).post(f"/dead-letters/{dead}/{doing}"), 403, "forbidden")
    problem(await editor.post(f"/dead-letters/{dead}/{doing}", json={"why": "x"}), 422, "invalid-input")
    settled = await editor.post(f"/dead-letters/{dead}/{doing}", json={"reason": "a test of the cable"})
    assert settled.status_code == 200, settled.text
    told = (await editor.get(f"/dead-letters/{dead}")).json()
    assert settled.json().items() <= told.items()
    assert (told["state"], told["settled_by"], told["settled_reason"]) == (state, "editor-token", "a test of the cable")
    assert told["settled_at"] is not None
    assert told["body"] == "{", "it is out of the way, not erased"
    assert [one["id"] for one in (await editor.get(f"/dead-letters?state={state}")).json()["items"]] == [dead]
    assert (await editor.get("/dead-letters?state=open")).json()["items"] == []
    again = problem(await editor.post(f"/dead-letters/{dead}/drop"), 409, "wrong-state")
    assert f"is {state} already" in again["detail"]
    problem(await editor.post(f"/dead-letters/{dead}/requeue"), 409, "wrong-state")
    [told_of] = api.database.execute("SELECT action, actor, detail FROM audit_log")
    assert told_of == (doing, "editor-token", {"reason": "a test of the cable"})


async def test_a_letter_of_no_team_is_the_operators_alone(api: Api, editor: httpx.AsyncClient) -> None:
    dead = letter(api, 1, body=b"\xff", type_=None, host_name=None)
    api.database.execute("UPDATE dead_letters SET team_id = NULL")
    admin, operator = await api.of_role("admin"), await api.client(api.database.token(None, "operator"))
    for client in (editor, admin):
        assert (await client.get("/dead-letters")).json()["items"] == []
        problem(await client.get(f"/dead-letters/{dead}"), 404, "not-found")
        for doing in ("requeue", "close", "drop"):
            problem(await client.post(f"/dead-letters/{dead}/{doing}"), 404, "not-found")
    assert (await operator.get(f"/dead-letters/{dead}")).json()["body_encoding"] == "base64"
    assert (await operator.post(f"/dead-letters/{dead}/drop")).json()["state"] == "dropped"
    assert api.database.execute("SELECT action, team_id, detail FROM audit_log") == [("drop", None, {})]
