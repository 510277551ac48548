"""The transitions are data; what else speaks of them (the ledger's checks, the docs) says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libs.contracts import (
    DEPLOYMENT_TRANSITIONS,
    ENDED,
    EXECUTION_TRANSITIONS,
    OPEN,
    SENTENCES,
    CatchUp,
    DeploymentStatus,
    ExecutionStatus,
    Kind,
    OnDeviceBusy,
    Reason,
    may_follow,
    reachable,
)

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "libs/ledger/migrations/sql/0001_schema.sql").read_text()
DOCS = ROOT / "docs/architecture.md"

E = ExecutionStatus


def _checked(column: str) -> list[set[str]]:
    """The value lists of every `CHECK (column IN (…))` of the schema."""
    return [
        set(re.findall(r"'([a-z_]+)'", values)) for values in re.findall(rf"CHECK \({column} IN \(([^)]*)\)", SCHEMA)
    ]


def test_every_status_has_its_row_of_transitions() -> None:
    assert set(EXECUTION_TRANSITIONS) == set(ExecutionStatus)
    assert set(DEPLOYMENT_TRANSITIONS) == set(DeploymentStatus)


def test_the_table_is_the_designs() -> None:
    assert EXECUTION_TRANSITIONS[E.TRIGGERED] == {E.QUEUED, E.RUNNING, E.SKIPPED, E.CANCELLED, E.FAILED}
    assert EXECUTION_TRANSITIONS[E.QUEUED] == {E.RUNNING, E.SKIPPED, E.CANCELLED, E.FAILED}
    assert EXECUTION_TRANSITIONS[E.RUNNING] == {E.COMPLETED, E.FAILED, E.CANCELLED}
    assert {E.COMPLETED, E.FAILED, E.SKIPPED, E.CANCELLED} == ENDED
    assert {E.TRIGGERED, E.QUEUED, E.RUNNING} == OPEN


def test_the_fold_takes_the_closure() -> None:
    assert reachable(E.TRIGGERED) == set(ExecutionStatus) - {E.TRIGGERED}
    assert may_follow(E.TRIGGERED, E.COMPLETED, presumed=False)
    assert not may_follow(E.RUNNING, E.QUEUED, presumed=False)


@pytest.mark.parametrize("ended", sorted(ENDED))
def test_nothing_follows_an_ending_but_the_hosts_word_on_a_presumed_one(ended: ExecutionStatus) -> None:
    assert not any(may_follow(ended, status, presumed=False) for status in ExecutionStatus)
    presumable = ended in {E.FAILED, E.SKIPPED}
    assert all(may_follow(ended, status, presumed=True) for status in ExecutionStatus) == presumable


def test_every_reason_has_a_sentence_that_ends_without_a_stop() -> None:
    assert set(SENTENCES) == set(Reason)
    assert SENTENCES[Reason.ALREADY_QUEUED] == "Already queued (max 1)"
    assert all(sentence and not sentence.endswith(".") for sentence in SENTENCES.values())


def test_the_ledgers_checks_are_the_contracts_words() -> None:
    statuses = _checked("status")
    assert set(DeploymentStatus) in statuses
    assert set(ExecutionStatus) in statuses
    assert _checked("kind")[0] == set(Kind)
    assert _checked("reason") == [set(Reason)]
    assert _checked("catch_up") == [set(CatchUp)]
    assert _checked("on_device_busy") == [set(OnDeviceBusy)]


def test_the_indexes_of_open_executions_name_the_open_statuses() -> None:
    named = re.findall(r"ON ledger\.deployment_executions [^;]*WHERE status IN \(([^)]*)\)", SCHEMA)
    assert len(named) == 2
    for values in named:
        assert set(re.findall(r"'([a-z]+)'", values)) == OPEN


def _pictured(heading: str) -> dict[str, set[str]]:
    """The `a --> b` lines of the mermaid state diagram under a heading of the docs."""
    section = DOCS.read_text().split(heading, 1)[1].split("```mermaid", 1)[1].split("```", 1)[0]
    found: dict[str, set[str]] = {}
    for source, target in re.findall(r"^\s*(\w+) --> (\w+)", section, re.MULTILINE):
        found.setdefault(source, set()).add(target)
    return found


def test_the_pictures_in_the_docs_are_the_tables() -> None:
    executions = _pictured("### Execution statuses")
    deployments = _pictured("### Deployment statuses")
    assert executions == {str(a): set(map(str, b)) for a, b in EXECUTION_TRANSITIONS.items() if b}
    assert deployments == {str(a): set(map(str, b)) for a, b in DEPLOYMENT_TRANSITIONS.items() if b}


def test_the_docs_name_every_reason_with_its_sentence() -> None:
    text = DOCS.read_text()
    for reason, sentence in SENTENCES.items():
        assert f"| `{reason}` | {sentence} |" in text
