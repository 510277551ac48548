"""Every change leaves one row in the audit and one notice for the host's people; what changes nothing leaves none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.support.api import AT_STB_1, EVERY_TEN, Api, created


@dataclass(frozen=True)
class Step:
    """A request on the deployment at hand (`{id}`), and what it leaves behind; no action: nothing."""

    name: str
    method: str
    path: str
    body: dict[str, Any] | None
    action: str | None
    detail: dict[str, Any] = field(default_factory=dict)
    notice: tuple[str, str, str] | None = None
    before: str | None = None


def changed(field: str, before: object, after: object) -> dict[str, Any]:
    return {"changes": {field: {"before": before, "after": after}}}


PAUSED = "POST /deployments/{id}/pause"
CREATED = {"host_name": "lab-1", "device_id": "stb-1", "script_name": "health.py"}
CREATED |= {"cron_expression": "*/10 * * * *", "timezone": "UTC"}

STEPS = [
    Step(
        "create",
        "POST",
        "/deployments",
        {**EVERY_TEN, **AT_STB_1, "name": "new"},
        "create",
        {"name": "new", **CREATED},
        ("created", "active", ""),
    ),
    Step(
        "copy",
        "POST",
        "/deployments/{id}/copy",
        {"name": "new", "device_id": "stb-2"},
        "copy",
        {
            "name": "new",
            **CREATED,
            "device_id": "stb-2",
            "copied_from": "{id}",
            "changes": {"device_id": {"before": "stb-1", "after": "stb-2"}},
        },
        ("created", "active", "copied from mine"),
    ),
    Step(
        "edit",
        "PATCH",
        "/deployments/{id}",
        {"cron_expression": "*/5 * * * *", "max_executions": 3, "parameters": None},
        "edit",
        {
            "version": 2,
            "changes": {
                "cron_expression": {"before": "*/10 * * * *", "after": "*/5 * * * *"},
                "max_executions": {"before": None, "after": 3},
            },
        },
        ("edited", "active", "cron */10 * * * * -> */5 * * * *, limit none -> 3"),
    ),
    Step("an edit that changes nothing", "PATCH", "/deployments/{id}", {"name": "mine"}, None),
    Step("a refused edit", "PATCH", "/deployments/{id}", {"timezone": "Mars"}, None),
    Step(
        "pause",
        "POST",
        "/deployments/{id}/pause",
        {"reason": "box is out"},
        "pause",
        {"version": 2, "reason": "box is out", **changed("status", "active", "paused")},
        ("status", "paused", "box is out"),
    ),
    Step("a second pause", "POST", "/deployments/{id}/pause", None, None, before=PAUSED),
    Step(
        "resume",
        "POST",
        "/deployments/{id}/resume",
        {"reason": "box is back"},
        "resume",
        {"version": 3, "reason": "box is back", **changed("status", "paused", "active")},
        ("status", "active", "box is back"),
        before=PAUSED,
    ),
    Step(
        "stop",
        "POST",
        "/deployments/{id}/stop",
        None,
        "stop",
        {"version": 2, **changed("status", "active", "stopped")},
        ("status", "stopped", ""),
    ),
    Step(
        "delete",
        "DELETE",
        "/deployments/{id}",
        None,
        "delete",
        {"version": 2, "changes": "*"},
        ("deleted", "stopped", ""),
    ),
    Step("a second delete", "DELETE", "/deployments/{id}", None, None, before="DELETE /deployments/{id}"),
    Step("run", "POST", "/deployments/{id}/run", {"reason": "look"}, "run", {"execution_id": "*", "reason": "look"}),
    Step(
        "bulk",
        "POST",
        "/deployments/bulk",
        {"ids": ["{id}"], "action": "delete", "reason": "box is gone"},
        "delete",
        {"version": 2, "reason": "box is gone", "changes": "*"},
        ("deleted", "stopped", "box is gone"),
    ),
    Step("cancel", "POST", "/executions/{run}/cancel", None, "cancel", {"status": "triggered"}),
    Step(
        "a second cancel",
        "POST",
        "/executions/{run}/cancel",
        None,
        None,
        before="POST /executions/{run}/cancel",
    ),
]


@pytest.fixture
async def quiet(api: Api) -> None:
    """Nobody to wait for."""
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")


@pytest.mark.usefixtures("quiet")
async def test_each_change_leaves_its_row_and_its_notice(api: Api, editor: httpx.AsyncClient) -> None:
    for step in STEPS:
        mine = await created(editor, name="mine")
        names = {"{id}": mine["id"]}
        if "{run}" in step.path:
            names["{run}"] = (await editor.post(f"/deployments/{mine['id']}/run")).json()["id"]
        if step.before is not None:
            method, path = _filled(step.before, names).split()
            assert (await editor.request(method, path)).is_success
        rows, notices = len(audit(api)), len(api.notices())
        answer = await editor.request(step.method, _filled(step.path, names), json=_filled(step.body, names))
        left, told = audit(api)[rows:], api.notices()[notices:]
        if step.action is None:
            assert (left, told) == ([], []), step.name
        else:
            assert answer.is_success, (step.name, answer.text)
            ((actor, action, resource, detail),) = left
            assert (actor, action) == ("editor-token", step.action), step.name
            expected: dict[str, Any] = _filled(step.detail, names)
            assert {key: "*" if expected.get(key) == "*" else value for key, value in detail.items()} == expected
            assert resource == _resource(step, answer.json(), names)
            assert told == ([(*step.notice, "editor-token")] if step.notice is not None else []), step.name
        # The next step's has the same name.
        api.database.execute("UPDATE deployments SET deleted_at = ledger.now() WHERE deleted_at IS NULL")


@pytest.mark.usefixtures("quiet")
async def test_a_limit_that_is_reached_by_an_edit_is_told_too(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, max_executions=5)
    api.database.execute("UPDATE deployments SET execution_count = 2")
    await editor.patch(f"/deployments/{made['id']}", json={"max_executions": 2})
    assert api.notices()[1:] == [
        ("edited", "completed", "limit 5 -> 2", "editor-token"),
        ("status", "completed", "The limit of executions was reached", "editor-token"),
    ]


def audit(api: Api) -> list[Any]:
    return api.database.execute("SELECT actor, action, resource, detail FROM audit_log ORDER BY id")


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, identity in names.items():
            value = value.replace(name, identity)
        return value
    if isinstance(value, dict):
        return {key: _filled(each, names) for key, each in value.items()}
    return [_filled(each, names) for each in value] if isinstance(value, list) else value


def _resource(step: Step, answered: dict[str, Any], names: dict[str, str]) -> str:
    if "{run}" in step.path:
        return f"execution/{names['{run}']}"
    if step.path == "/deployments":
        return f"deployment/{answered['items'][0]['id']}"
    return f"deployment/{answered['id'] if step.name == 'copy' else names['{id}']}"
