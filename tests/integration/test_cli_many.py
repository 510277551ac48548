"""Copies, and one action on several deployments, as the command line asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.test_cli_api import DEPLOYMENT, ID, page, run
from tests.support.canned_api import canned_api

OTHER: dict[str, Any] = {**DEPLOYMENT, "id": "0199f3a2-1c00-7000-8000-000000000002", "name": "zap"}
REFUSED = {"type": "/problems/wrong-state", "title": "", "status": 409, "detail": "It is paused already", "errors": []}


def answer(deployment: dict[str, Any], *, execution_id: str | None = None) -> dict[str, Any]:
    done = {"id": deployment["id"], "ok": True, "problem": None, "deployment": deployment}
    return done | {"execution_id": execution_id}


def refusal(deployment: dict[str, Any]) -> dict[str, Any]:
    return {"id": deployment["id"], "ok": False, "problem": REFUSED, "deployment": None, "execution_id": None}


def test_a_copy_sends_only_what_differs() -> None:
    with canned_api() as api:
        api.answer(f"POST /api/v1/deployments/{ID}/copy", 201, OTHER)
        ended = run(api, ["deployments", "copy", ID, "--device", "stb-2", "--clear", "end_date", "--json"])
        assert (ended.exit_code, json.loads(ended.stdout)["name"]) == (0, "zap")
        assert api.asked[0].body == {"device_id": "stb-2", "end_date": None}
        assert run(api, ["deployments", "copy", ID, "--clear", "script_name"]).exit_code == 2


def test_several_are_changed_in_one_request() -> None:
    with canned_api() as api:
        api.answer("GET /api/v1/deployments?q=zap&limit=500", 200, page(OTHER))
        silent = {**DEPLOYMENT, "host_acknowledged": False}
        api.answer("POST /api/v1/deployments/bulk", 200, {"items": [answer(silent), answer(OTHER)]})
        ended = run(api, ["deployments", "pause", ID, "zap", ID, "--reason", "new firmware"])
        assert ended.exit_code == 0
        assert [line.split("\t")[0] for line in ended.stdout.splitlines()] == ["id", ID, OTHER["id"]]
        assert "may still start" in ended.stderr
        assert api.asked[-1].body == {"ids": [ID, OTHER["id"]], "action": "pause", "reason": "new firmware"}


def test_what_is_refused_of_several_is_said_and_the_rest_printed() -> None:
    with canned_api() as api:
        api.answer("POST /api/v1/deployments/bulk", 200, {"items": [answer(DEPLOYMENT), refusal(OTHER)]})
        ended = run(api, ["deployments", "stop", ID, str(OTHER["id"])])
        assert ended.exit_code == 4
        assert ended.stdout.count(ID) == 1
        assert ended.stderr.splitlines()[-2:] == [
            "rigbeat: 1 of 2 were refused:",
            f"  {OTHER['id']}: It is paused already",
        ]


def test_runs_of_several_name_their_executions() -> None:
    with canned_api() as api:
        ran = [answer(DEPLOYMENT, execution_id="e1"), answer(OTHER, execution_id="e2")]
        api.answer("POST /api/v1/deployments/bulk", 200, {"items": ran})
        ended = run(api, ["deployments", "run", ID, str(OTHER["id"])])
        assert [line.split("\t")[0] for line in ended.stdout.splitlines()] == ["execution_id", "e1", "e2"]


@pytest.mark.parametrize("ok", [True, False])
def test_a_reason_of_one_that_is_deleted(ok: bool) -> None:
    with canned_api() as api:
        told = answer(DEPLOYMENT) if ok else refusal(DEPLOYMENT)
        api.answer("POST /api/v1/deployments/bulk", 200, {"items": [told]})
        ended = run(api, ["deployments", "delete", ID, "--reason", "the box is gone"])
        assert ended.exit_code == (0 if ok else 4)
        assert api.asked[0].body == {"ids": [ID], "action": "delete", "reason": "the box is gone"}
