"""`rigbeat retention`: what it asks, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.commands.retention import Kind
from services.api.shapes.retention import KeptKind, Retention, RetentionPlan
from tests.support.canned_api import CannedApi, canned_api

POLICY = {
    "kind": "logs",
    "keep_days": None,
    "least_days": 1,
    "kept_from": "2026-08-25T00:00:00Z",
    "changed_at": None,
    "changed_by": None,
}


def example(shape: type[Retention] | type[RetentionPlan]) -> Any:
    return shape.model_json_schema()["examples"][0]


@pytest.fixture
def api() -> Iterator[CannedApi]:
    with canned_api() as served:
        yield served


def run(api: CannedApi, arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"RIGBEAT_API_URL": api.url, "RIGBEAT_TOKEN": "rb_secret"})


def test_show_and_run_print_the_policies_and_the_runs(api: CannedApi) -> None:
    api.answer("GET /api/v1/retention", 200, example(Retention))
    api.answer("POST /api/v1/retention/run", 202, example(Retention))
    for words in (["retention", "show"], ["retention", "run"]):
        result = run(api, words)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [
            "kind\tkeep_days\tleast_days\tkept_from\tchanged_at\tchanged_by",
            "logs\t90\t1\t2026-08-25T00:00:00Z\t\t",
            "The next run begins at 2026-11-24T10:30:00Z.",
            "run\tstarted_at\tended_at\tremoved\tasked_by",
            "12\t2026-11-23T10:30:00Z\t2026-11-23T10:30:02Z\t1440 logs\t",
        ]
    assert [one.method for one in api.asked] == ["GET", "POST"]
    assert json.loads(run(api, ["retention", "show", "--json"]).stdout) == example(Retention)


def test_a_dry_run_only_asks_for_the_plan(api: CannedApi) -> None:
    plan = example(RetentionPlan)
    plan["items"] += [plan["items"][0] | {"kind": "executions", "bytes": None, "is_more": True}]
    api.answer("GET /api/v1/retention/plan", 200, plan)
    assert run(api, ["retention", "run", "--dry-run"]).stdout.splitlines()[1:] == [
        "logs\t1440\t73400320\t2026-08-24T00:00:00Z\t2026-08-25T00:00:00Z",
        "executions\t1440+\t\t2026-08-24T00:00:00Z\t2026-08-25T00:00:00Z",
    ]
    assert [one.method for one in api.asked] == ["GET"]


@pytest.mark.parametrize(("days", "sent"), [("30", 30), ("forever", None)])
def test_set_sends_days_or_for_ever(api: CannedApi, days: str, sent: int | None) -> None:
    api.answer("PUT /api/v1/retention/logs", 200, POLICY)
    assert "logs\tforever\t" in run(api, ["retention", "set", "logs", days]).stdout
    assert api.asked[0].body == {"keep_days": sent}


def test_a_wrong_number_or_kind_is_wrong_usage(api: CannedApi) -> None:
    for words in (["logs", "ever"], ["logs", "-1"], ["nonsense", "30"]):
        assert run(api, ["retention", "set", *words]).exit_code == 2
    assert api.asked == []
    assert set(Kind) == {kind.value for kind in KeptKind}
