"""A limit is lowered only when nothing that was sent could pass it any more; the test plays the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.api import edits, fencing
from tests.support.api import Api, created, problem
from tests.support.wait import until_async

SENT = "status = 'triggered'"
REFUSED = "status = 'skipped', reason = 'limit_reached', completed_at = ledger.now()"
STARTED = "status = 'running', started_at = scheduled_at"


@asynccontextmanager
async def a_host(api: Api, becomes: str, fences: int = 1) -> AsyncIterator[None]:
    """It answers so many fences when all are there; what was sent to it has become that."""

    async def fenced() -> bool:
        there = [kind for kind, _ in api.outbox() if kind == "command.fence.v1"]
        return len(there) >= fences

    async def answer() -> None:
        await until_async(fenced, within=10)
        api.database.execute(f"UPDATE deployment_executions SET {becomes} WHERE {SENT}")
        api.database.execute("UPDATE outbox SET applied_at = ledger.now() WHERE type = 'command.fence.v1'")
        api.database.execute(
            "SELECT pg_notify('rigbeat_applied', message_id::text) FROM outbox WHERE type = 'command.fence.v1'"
        )

    answering = asyncio.create_task(answer())
    try:
        yield
        await answering
    finally:
        answering.cancel()


async def with_two_under_way(api: Api, editor: httpx.AsyncClient) -> str:
    """A deployment with a limit of five: two executions count, one runs, one was sent."""
    made = await created(editor, max_executions=5)
    path = f"/deployments/{made['id']}"
    await editor.post(f"{path}/run")
    api.database.execute(f"UPDATE deployment_executions SET {STARTED}")
    api.database.execute("UPDATE deployments SET execution_count = 2")
    await editor.post(f"{path}/run")
    return path


async def limit_of(editor: httpx.AsyncClient, path: str) -> tuple[int, int]:
    found = (await editor.get(path)).json()
    return found["max_executions"], found["version"]


def fences(api: Api) -> list[Any]:
    return [(body["reason"], body["version"]) for kind, body in api.outbox() if kind == "command.fence.v1"]


async def test_what_counts_and_what_runs_is_no_matter_of_the_host(api: Api, editor: httpx.AsyncClient) -> None:
    path = await with_two_under_way(api, editor)
    refused = problem(await editor.patch(path, json={"max_executions": 2}), 409, "limit-reached")
    assert refused["errors"][0]["field"] == "max_executions"
    lowered = (await editor.patch(path, json={"max_executions": 4})).json()
    assert (lowered["max_executions"], lowered["status"], lowered["version"]) == (4, "active", 2)
    assert fences(api) == [], "2 counted, 1 running, 1 sent: all of them may still run"


async def test_the_host_gives_back_what_it_has_not_started(api: Api, editor: httpx.AsyncClient) -> None:
    path = await with_two_under_way(api, editor)
    async with a_host(api, REFUSED):
        answer = await editor.patch(path, json={"max_executions": 3}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    # One version for the fence, so that what fires after it may run, and one for the limit.
    assert (answer.json()["max_executions"], answer.json()["version"]) == (3, 3)
    assert fences(api) == [("limit_reached", 2)]
    raised = (await editor.patch(path, json={"max_executions": 9})).json()
    assert raised["version"] == 4
    api.database.execute("UPDATE deployment_executions SET status = 'completed' WHERE status = 'running'")
    done = (await editor.patch(path, json={"max_executions": 2})).json()
    assert (done["status"], done["next_fire_at"]) == ("completed", None)
    assert len(fences(api)) == 1
    actions = api.database.execute(
        "SELECT action, detail->'version' FROM audit_log WHERE action IN ('edit', 'withdraw') ORDER BY id"
    )
    assert actions == [("withdraw", 2), ("edit", 3), ("edit", 4), ("edit", 5)]


async def test_what_has_started_meanwhile_keeps_its_place(api: Api, editor: httpx.AsyncClient) -> None:
    path = await with_two_under_way(api, editor)
    async with a_host(api, STARTED):
        refused = problem(await editor.patch(path, json={"max_executions": 3}), 409, "limit-reached")
    assert refused["detail"] == "2 executions count already and 2 are running; the limit cannot be lower"
    assert refused["errors"][0]["hint"] == "Choose 4 or more, or stop the deployment."
    assert await limit_of(editor, path) == (5, 2)


async def test_a_host_that_says_nothing_leaves_the_limit_as_it_is(api: Api, editor: httpx.AsyncClient) -> None:
    path = await with_two_under_way(api, editor)
    answer = await editor.patch(path, json={"max_executions": 3})
    refused = problem(answer, 409, "limit-reached")
    assert refused["detail"] == (
        "1 execution that was sent to lab-1 may still start, and lab-1 has not said yet whether it does; "
        "the limit stays 5"
    )
    assert 3.9 <= answer.elapsed.total_seconds() < 7, "two seconds for the fence, two for what became of the run"
    assert await limit_of(editor, path) == (5, 2)


async def test_a_host_that_is_away_is_not_asked(
    api: Api, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (edits, fencing):
        monkeypatch.setattr(room, "WAIT_SECONDS", 20.0)
    path = await with_two_under_way(api, editor)
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    answer = await editor.patch(path, json={"max_executions": 3})
    refused = problem(answer, 409, "limit-reached")
    assert "lab-1 is offline" in refused["detail"]
    assert answer.elapsed.total_seconds() < 10
    assert await limit_of(editor, path) == (5, 1)
    assert fences(api) == []


async def test_many_at_once_wait_together(api: Api, editor: httpx.AsyncClient) -> None:
    paths = [await with_two_under_way(api, editor) for _ in range(3)]
    ids = [path.rpartition("/")[2] for path in paths]
    api.database.execute("UPDATE deployment_executions SET status = 'triggered', started_at = NULL")
    asked = {"ids": ids, "patch": {"max_executions": 2}}
    answer = await editor.post("/deployments/bulk", json=asked)
    assert [item["problem"]["type"] for item in answer.json()["items"]] == ["/problems/limit-reached"] * 3
    assert answer.elapsed.total_seconds() < 11, "not four seconds for each"
    api.database.execute("DELETE FROM outbox")
    async with a_host(api, REFUSED, fences=3):
        items = (await editor.post("/deployments/bulk", json=asked)).json()["items"]
    assert [item["deployment"]["max_executions"] for item in items] == [2, 2, 2]
