"""What clients of the former system send and read, and what it means here."""

from __future__ import annotations

from typing import Any

import pytest

from libs.contracts import SENTENCES, ExecutionStatus, Reason
from services.api.core.former_clients import as_known, as_meant, faults_of_edit, is_theirs, one_text
from services.api.shapes.former import (
    Done,
    FormerDeployment,
    FormerDeployments,
    FormerEdit,
    FormerExecution,
    FormerExecutions,
    FormerNew,
    FormerScripts,
    Refused,
    Status,
)


def row(**given: Any) -> dict[str, Any]:
    return {"success": None, "reason": None, "skip_reason": None, "error_message": None} | given


def test_every_status_becomes_one_that_is_known() -> None:
    became = {status: as_known(row(status=status))["status"] for status in ExecutionStatus}
    assert set(became.values()) == set(Status.__args__)  # type: ignore[attr-defined]
    changed = {str(status): str(known) for status, known in became.items() if status != known}
    assert changed == {"triggered": "queued", "cancelled": "failed"}


@pytest.mark.parametrize(
    ("given", "success", "skipped", "failed"),
    [
        ({"status": "cancelled", "reason": "cancelled_by_user"}, False, None, SENTENCES[Reason.CANCELLED_BY_USER]),
        ({"status": "cancelled"}, False, None, SENTENCES[Reason.CANCELLED_BY_USER]),
        ({"status": "failed"}, False, None, None),
        ({"status": "failed", "reason": "timed_out"}, False, None, SENTENCES[Reason.TIMED_OUT]),
        (
            {"status": "failed", "reason": "exit_code", "error_message": "It ended with 3"},
            False,
            None,
            "It ended with 3",
        ),
        ({"status": "skipped", "reason": "paused", "skip_reason": "Paused"}, None, "Paused", None),
        ({"status": "completed", "success": True, "error_message": "Output was cut"}, True, None, "Output was cut"),
        ({"status": "running"}, None, None, None),
        ({"status": "triggered"}, None, None, None),
    ],
)
def test_what_is_over_says_how(given: dict[str, Any], success: bool | None, skipped: str, failed: str) -> None:
    known = as_known(row(**given))
    assert (known["success"], known["skip_reason"], known["error_message"]) == (success, skipped, failed)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"start_date": "2025-10-16 00:00"}, {"start_date": "2025-10-16T00:00:00+00:00"}),
        ({"end_date": "2025-10-16"}, {"end_date": "2025-10-16T00:00:00+00:00"}),
        ({"end_date": "2025-10-16T02:00:00+02:00"}, {"end_date": "2025-10-16T02:00:00+02:00"}),
        ({"end_date": "2025-10-16T00:00:00.000Z"}, {"end_date": "2025-10-16T00:00:00.000Z"}),
        ({"end_date": "next week"}, {"end_date": "next week"}),
        ({"end_date": 1760572800}, {"end_date": 1760572800}),
        (
            {"start_date": "", "end_date": " ", "parameters": ""},
            {"start_date": None, "end_date": None, "parameters": None},
        ),
        ({"max_executions": ""}, {"max_executions": None}),
        ({"max_executions": 0}, {"max_executions": None}),
        ({"max_executions": "0"}, {"max_executions": None}),
        ({"max_executions": "20"}, {"max_executions": 20}),
        ({"max_executions": -1}, {"max_executions": -1}),
        ({"max_executions": False}, {"max_executions": False}),
        ({"max_executions": 0.0}, {"max_executions": 0.0}),
        ({"max_executions": [0]}, {"max_executions": [0]}),
        ({"cron_expression": "", "name": ""}, {"cron_expression": "", "name": ""}),
        ({}, {}),
    ],
)
def test_bodies_are_taken_as_they_were_meant(sent: dict[str, Any], meant: dict[str, Any]) -> None:
    before = dict(sent)
    assert as_meant(sent) == meant
    assert sent == before


def test_an_edit_may_repeat_what_it_cannot_change() -> None:
    now = {"host_name": "lab-1", "device_id": "stb-1", "script_name": "health.py", "status": "active"}
    assert list(faults_of_edit(now | {"id": 7}, now)) == []
    assert list(faults_of_edit({"status": None}, now)) == []
    for field in now:
        [fault] = faults_of_edit({field: "other"}, now)
        assert (fault.field, now[field] in fault.message) == (field, True)


def test_a_refusal_is_one_text_with_what_would_be_right() -> None:
    assert one_text("There is no such team", []) == "There is no such team"
    wrong = [("name", "It is taken", "Choose another."), ("$", "No", None)]
    assert one_text("whatever", wrong) == "name: It is taken (Choose another.); $: No"


@pytest.mark.parametrize(
    ("path", "theirs"),
    [
        ("/server/deployment/list", True),
        ("/server/", True),
        ("/server", False),
        ("/servers/x", False),
        ("/api/v1", False),
    ],
)
def test_their_paths(path: str, theirs: bool) -> None:
    assert is_theirs(path) is theirs


@pytest.mark.parametrize(
    "shape",
    [
        *(Done, Refused, FormerNew, FormerEdit, FormerExecution),
        *(FormerDeployment, FormerDeployments, FormerExecutions, FormerScripts),
    ],
)
def test_every_example_is_true_to_its_shape(shape: Any) -> None:
    [example] = shape.model_config["json_schema_extra"]["examples"]
    read = shape.model_validate(example)
    # Bodies may leave out; what is answered is whole.
    assert example.keys() == (read.model_fields_set if shape in (FormerNew, FormerEdit) else set(shape.model_fields))
