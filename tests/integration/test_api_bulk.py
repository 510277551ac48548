"""Many deployments at once, each on its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from tests.support.api import Api, created, problem

NOBODY = str(UUID(int=7))


async def bulk(client: httpx.AsyncClient, **asked: object) -> list[dict[str, Any]]:
    answer = await client.post("/deployments/bulk", json=asked)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    assert all(set(item) == {"id", "ok", "problem", "deployment", "execution_id"} for item in items)
    assert all((item["problem"] is None) == item["ok"] == (item["deployment"] is not None) for item in items)
    return items


async def test_one_that_fails_undoes_no_other(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    first, second, third = [await created(editor, name=f"d{number}") for number in range(3)]
    await editor.post(f"/deployments/{second['id']}/stop")
    stranger = await api.of_role("editor", api.database.team("other"))
    asked = [third["id"], NOBODY, second["id"], first["id"], third["id"]]
    items = await bulk(editor, ids=asked, action="pause", reason="new firmware")
    assert [item["id"] for item in items] == asked[:4]
    assert [item["ok"] for item in items] == [True, False, False, True]
    assert [item["problem"]["status"] for item in items[1:3]] == [404, 409]
    assert items[2]["problem"]["detail"] == "The deployment is stopped: it cannot be paused, only copied"
    changed = items[0]["deployment"]
    assert (changed["status"], changed["status_reason"], changed["version"]) == ("paused", "new firmware", 2)
    assert changed["host_acknowledged"] is False
    assert not any(item["ok"] for item in await bulk(stranger, ids=asked, action="resume"))
    assert [item["ok"] for item in await bulk(editor, ids=[first["id"], third["id"]], action="resume")] == [True, True]


async def test_hosts_are_waited_for_together(api: Api, editor: httpx.AsyncClient) -> None:
    made = [await created(editor, name=f"d{number}") for number in range(4)]
    answer = await editor.post("/deployments/bulk", json={"ids": [one["id"] for one in made], "action": "stop"})
    assert 1.9 <= answer.elapsed.total_seconds() < 7.5, "once two seconds for all four, not for each"
    assert {item["deployment"]["host_acknowledged"] for item in answer.json()["items"]} == {False}


async def test_hosts_that_answer_are_believed(api: Api, editor: httpx.AsyncClient) -> None:
    api.answer_commands()
    made = [await created(editor, name=f"d{number}") for number in range(3)]
    ids = [one["id"] for one in made]
    for action in ("pause", "resume", "delete"):
        items = await bulk(editor, ids=ids, action=action)
        assert [item["deployment"]["host_acknowledged"] for item in items] == [True, True, True]
    assert (await editor.get("/deployments")).json()["items"] == []


async def test_runs_name_their_executions(api: Api, editor: httpx.AsyncClient) -> None:
    made = [await created(editor, name=f"d{number}", max_executions=1) for number in range(2)]
    ids = [one["id"] for one in made]
    items = await bulk(editor, ids=ids, action="run", reason="look again")
    ran = [item["execution_id"] for item in items]
    assert [body["execution_id"] for _, body in api.outbox()] == ran
    again = await bulk(editor, ids=ids, action="run")
    assert [item["problem"]["type"] for item in again] == ["/problems/limit-reached"] * 2


async def test_an_edit_of_many(api: Api, editor: httpx.AsyncClient) -> None:
    made = [await created(editor, name=f"d{number}") for number in range(2)]
    ids = [one["id"] for one in made]
    items = await bulk(editor, ids=ids, patch={"cron_expression": "0 9 * * *", "on_device_busy": "queue"})
    assert {item["deployment"]["cron_expression"] for item in items} == {"0 9 * * *"}
    same = await bulk(editor, ids=ids, patch={"name": "one-name"})
    assert [item["ok"] for item in same] == [True, False]
    assert same[1]["problem"]["errors"][0]["field"] == "name"


async def test_what_is_no_bulk(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    bad: list[tuple[dict[str, object], str]] = [
        ({"action": "pause"}, "ids"),
        ({"ids": [], "action": "pause"}, "ids"),
        ({"ids": [NOBODY] * 501, "action": "pause"}, "ids"),
        ({"ids": ["health"], "action": "pause"}, "ids[0]"),
        ({"ids": [made["id"]]}, "$"),
        ({"ids": [made["id"]], "action": "pause", "patch": {"name": "x"}}, "$"),
        ({"ids": [made["id"]], "action": "explode"}, "action"),
        ({"ids": [made["id"]], "patch": {"host_name": "lab-2"}}, "patch.host_name"),
        ({"ids": [made["id"]], "patch": {"cron_expression": "61 * * * *"}}, "patch.cron_expression"),
        ({"ids": [made["id"]], "action": "pause", "when": "now"}, "when"),
    ]
    for asked, field in bad:
        refused = problem(await editor.post("/deployments/bulk", json=asked), 422, "invalid-input")
        assert [each["field"] for each in refused["errors"]] == [field]
    viewer = await api.of_role("viewer")
    problem(await viewer.post("/deployments/bulk", json={"ids": [made["id"]], "action": "stop"}), 403, "forbidden")
    assert (await editor.get(f"/deployments/{made['id']}")).json() == made
