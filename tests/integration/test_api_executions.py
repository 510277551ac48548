"""Executions over HTTP: history, filters, cancel."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.api import Api, created, problem
from tests.support.ledger import shift_now


async def ran(api: Api, client: httpx.AsyncClient, deployment: dict[str, Any], **columns: object) -> dict[str, Any]:
    """A manual run whose row then says `columns`."""
    answer = await client.post(f"/deployments/{deployment['id']}/run")
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    for column, value in columns.items():
        api.database.execute(f"UPDATE deployment_executions SET {column} = %s WHERE id = %s", (value, made["id"]))
    return made


async def test_one_execution_comes_back_whole(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor, name="health", parameters="--limit 2", userinterface_name="demo")
    made = await ran(api, editor, deployment)
    api.database.execute(
        """UPDATE deployment_executions
           SET status = 'failed', reason = 'timed_out', success = false, signal = 'SIGTERM',
           error_message = 'Stopped after 3600 s, its time limit', duration_seconds = 3600.2, log_bytes = 81233,
           decided_at = scheduled_at + interval '10 ms', published_at = scheduled_at + interval '20 ms',
           received_at = scheduled_at + interval '20 ms', queued_at = scheduled_at + interval '25 ms',
           admitted_at = scheduled_at + interval '1025 ms', started_at = scheduled_at + interval '1040 ms',
           completed_at = scheduled_at + interval '1 hour'"""
    )
    got = (await editor.get(f"/executions/{made['id']}")).json()
    times = {name: got.pop(name) for name in ("scheduled_at", "queued_at", "started_at", "completed_at")}
    assert all(time.endswith("Z") for time in times.values())
    late = got.pop("lateness")
    assert late == {"claim": 0.01, "publish": 0.01, "queue": 0, "admission": 0.005, "wait": 1.0, "spawn": 0.015}
    assert abs(sum(late.values()) - got["late_seconds"]) < 0.001
    assert got == {
        "id": made["id"],
        "deployment_id": deployment["id"],
        "deployment_name": "health",
        "host_name": "lab-1",
        "device_id": "stb-1",
        "script_name": "health.py",
        "parameters": "--limit 2",
        "userinterface_name": "demo",
        "team_id": str(api.team),
        "kind": "manual",
        "queue_position": None,
        "status": "failed",
        "reason": "timed_out",
        "message": "Stopped after 3600 s, its time limit",
        "presumed": False,
        "success": False,
        "exit_code": None,
        "signal": "SIGTERM",
        "duration_seconds": 3600.2,
        "late_seconds": 1.04,
        "script_result_id": None,
        "log_bytes": 81233,
        "log_url": f"/api/v1/executions/{made['id']}/log",
        "log_removed": False,
        "report_url": None,
        "artifacts_removed": False,
        "artifacts": [],
        "junit": None,
        "cancel_requested_at": None,
        "triggered_by": "editor-token",
    }


async def test_a_queued_one_says_where_it_stands_and_a_skipped_one_why(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor)
    queued = await ran(api, editor, deployment, status="queued")
    ahead = await ran(api, editor, deployment, status="queued")
    api.database.execute("UPDATE devices SET pending = ARRAY[%s, %s]::uuid[]", (ahead["id"], queued["id"]))
    skipped = await ran(
        api, editor, deployment, status="skipped", reason="already_queued", skip_reason="Already queued (max 1)"
    )
    assert (await editor.get(f"/executions/{queued['id']}")).json()["queue_position"] == 2
    got = (await editor.get(f"/executions/{skipped['id']}")).json()
    assert (got["status"], got["reason"], got["message"]) == ("skipped", "already_queued", "Already queued (max 1)")


async def test_history_is_newest_first_in_pages_and_narrowed(api: Api, editor: httpx.AsyncClient) -> None:
    first, second = await created(editor), await created(editor, device_id="stb-2")
    made = []
    for hours in range(4):
        shift_now(api.database, hours * 3600)
        status = "failed" if hours % 2 else "completed"
        made.append(
            await ran(
                api, editor, first if hours < 3 else second, status=status, reason="exit_code" if hours % 2 else None
            )
        )
    ids = [one["id"] for one in made]

    async def listed(path: str = "/executions", **params: str) -> list[str]:
        answer = await editor.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"] if item["kind"] == "manual"]

    assert await listed() == ids[::-1]
    history = f"/deployments/{first['id']}/executions"
    assert await listed(history) == ids[2::-1]
    assert await listed(status="failed") == [ids[3], ids[1]]
    assert await listed(history, reason="exit_code") == [ids[1]]
    assert await listed(device_id="stb-2") == [ids[3]]
    assert await listed(deployment_id=second["id"]) == [ids[3]]
    window = {"from": made[1]["scheduled_at"], "to": made[3]["scheduled_at"]}
    assert await listed(**window) == [ids[2], ids[1]]
    assert await listed(history, **window) == [ids[2], ids[1]]
    page = (await editor.get(history, params={"limit": 1, "status": "completed"})).json()
    assert [one["id"] for one in page["items"]] == [ids[2]]
    rest = (await editor.get(history, params={"limit": 1, "status": "completed", "cursor": page["next"]})).json()
    assert ([one["id"] for one in rest["items"]], rest["next"]) == ([ids[0]], None)
    moved = await editor.get(f"/deployments/{second['id']}/executions", params={"limit": 1, "cursor": page["next"]})
    problem(moved, 422, "invalid-input")
    for unknown in ({"colour": "red"}, {"from": "yesterday"}, {"reason": "boredom"}):
        problem(await editor.get(history, params=unknown), 422, "invalid-input")


async def test_cancel_is_a_request_that_the_host_answers(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor)
    made = await ran(api, editor, deployment, status="running")
    path = f"/executions/{made['id']}"
    answer = await editor.post(f"{path}/cancel")
    assert answer.status_code == 202
    asked = answer.json()
    assert (asked["status"], asked["cancel_requested_at"] is not None) == ("running", True)
    assert (await editor.post(f"{path}/cancel")).json() == asked
    commands = [body for kind, body in api.outbox() if kind == "command.cancel.v1"]
    assert [(one["execution_id"], one["host"]) for one in commands] == [(made["id"], "lab-1")]
    api.database.execute("UPDATE deployment_executions SET status = 'completed'")
    problem(await editor.post(f"{path}/cancel"), 409, "wrong-state")


async def test_a_presumed_ending_can_still_be_cancelled(api: Api, editor: httpx.AsyncClient) -> None:
    deployment = await created(editor)
    made = await ran(api, editor, deployment, status="failed", reason="host_lost", presumed=True)
    assert (await editor.post(f"/executions/{made['id']}/cancel")).status_code == 202
