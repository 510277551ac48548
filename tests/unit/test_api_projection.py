"""How facts move a row: tables of transcripts, and the property that order and repetition change nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import (
    AnyFact,
    DeploymentStatus,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    Kind,
    Reason,
)
from services.api.core.projection import (
    Fire,
    Mark,
    Row,
    Tally,
    Times,
    confirm,
    mark,
    merge,
    never_delivered,
    presume_lost,
    presume_missed,
    repeats,
    tally,
)

S = ExecutionStatus
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
FIRE = Fire(Kind.CRON, NOON, NOON)
TRIGGERED = Row(id=ONE, deployment_id=TWO, team_id=THREE, host_name="lab-1", status=S.TRIGGERED, fire=FIRE)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def common(offset: float | None = 0.0) -> dict[str, Any]:
    return {
        "host": "lab-1",
        "journal_id": ONE,
        "runner_id": ONE,
        "execution_id": ONE,
        "deployment_id": TWO,
        "ledger_epoch": 1,
        "version": 1,
        "kind": Kind.CRON,
        "scheduled_at": NOON,
        "device_id": "box-1",
        "script_name": "health.py",
        "sequence": 1,
        "clock_offset_seconds": offset,
        "received_at": at(1),
    }


def queued(offset: float | None = 0.0) -> ExecutionQueued:
    return ExecutionQueued(**common(offset), at=at(2), reason=Reason.DEVICE_BUSY)


def started(offset: float | None = 0.0, *, was_queued: bool = True) -> ExecutionStarted:
    times = {"queued_at": at(2) if was_queued else None, "admitted_at": at(3), "started_at": at(4)}
    return ExecutionStarted(**common(offset), **times, at=at(4))


def finished(
    status: ExecutionStatus = S.COMPLETED,
    offset: float | None = 0.0,
    *,
    was_queued: bool = True,
    did_start: bool = True,
    **more: Any,
) -> ExecutionFinished:
    times = {
        "queued_at": at(2) if was_queued else None,
        "admitted_at": at(3) if did_start else None,
        "started_at": at(4) if did_start else None,
        "completed_at": at(9),
    }
    return ExecutionFinished(**common(offset), **times, at=at(9), status=status, **more)


def skipped(reason: Reason = Reason.ALREADY_QUEUED, message: str = "no", offset: float | None = 0.0) -> AnyFact:
    return ExecutionSkipped(**common(offset), at=at(2), reason=reason, message=message)


def fold(row: Row, *facts: AnyFact) -> Row:
    for fact in facts:
        row = merge(row, fact)
    return row


def test_a_run_that_waits_starts_and_ends() -> None:
    row = merge(TRIGGERED, queued())
    assert (row.status, row.outcome.reason, row.times) == (S.QUEUED, Reason.DEVICE_BUSY, Times(at(1), at(2)))
    row = merge(row, started())
    assert (row.status, row.outcome.reason) == (S.RUNNING, None)
    assert row.times == Times(at(1), at(2), at(3), at(4))
    assert not row.counts
    row = merge(row, finished(success=True, exit_code=0, log_bytes=7, script_result_id=THREE, duration_seconds=5))
    assert (row.status, row.counts) == (S.COMPLETED, True)
    outcome = row.outcome
    assert (outcome.success, outcome.exit_code, outcome.log_bytes, outcome.completed_at) == (True, 0, 7, at(9))
    assert (outcome.script_result_id, outcome.duration_seconds, outcome.reason) == (THREE, 5, None)


FAILED = finished(
    S.FAILED, reason=Reason.EXIT_CODE, message="It ended with 3", success=False, exit_code=3, did_start=True
)
JOURNEYS: dict[str, tuple[AnyFact, ...]] = {
    "waits, runs": (queued(), started(), finished()),
    "runs": (started(was_queued=False), finished(was_queued=False)),
    "fails": (queued(), started(), FAILED),
    "is not started": (finished(S.FAILED, reason=Reason.SPAWN_FAILED, did_start=False, was_queued=False),),
    "is dropped": (queued(), skipped(Reason.PAUSED, "The deployment was paused")),
    "is cancelled while it waits": (queued(), finished(S.CANCELLED, did_start=False)),
    "is cancelled while it runs": (started(was_queued=False), finished(S.CANCELLED, was_queued=False)),
}
BEGINNINGS = {
    "triggered": TRIGGERED,
    "presumed missed": presume_missed(TRIGGERED, at(60), "Missed"),
    "presumed lost while it waited": presume_lost(merge(TRIGGERED, queued()), at(60)),
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS)
def test_every_order_and_repetition_ends_alike(beginning: Row, journey: tuple[AnyFact, ...]) -> None:
    wanted = fold(beginning, *journey)
    assert wanted.status is not beginning.status or beginning.presumed
    assert not wanted.presumed
    for order in permutations(journey):
        assert fold(beginning, *order) == wanted
        assert fold(beginning, *order, *order) == wanted
        assert fold(beginning, *order, *reversed(order)) == wanted


OFFSETS = st.sampled_from([None, 0.0, -0.25, 12.5])


@st.composite
def shuffled_journeys(draw: st.DrawFn) -> tuple[list[AnyFact], list[AnyFact]]:
    journey = draw(st.sampled_from(list(JOURNEYS.values())))
    # The host learns its offset, or loses it, between two words.
    told = [fact.model_copy(update={"clock_offset_seconds": draw(OFFSETS)}) for fact in journey]
    repeated = told + draw(st.lists(st.sampled_from(told), max_size=4))
    return told, draw(st.permutations(repeated))


@given(shuffled_journeys(), st.sampled_from(list(BEGINNINGS.values())))
def test_order_and_repetition_change_nothing(facts: tuple[list[AnyFact], list[AnyFact]], beginning: Row) -> None:
    told, shuffled = facts
    assert fold(beginning, *shuffled) == fold(beginning, *told)


def test_a_late_start_of_a_finished_run_only_fills_in_what_is_missing() -> None:
    bare = replace(fold(TRIGGERED, finished()), times=Times(started_at=at(4)))
    row = merge(bare, started(offset=100))
    assert (row.status, row.outcome, row.times.started_at) == (S.COMPLETED, bare.outcome, at(4))
    assert row.times.admitted_at == at(103)


def test_host_times_become_database_times() -> None:
    row = fold(TRIGGERED, finished(offset=-1.5))
    assert row.times == Times(at(-0.5), at(0.5), at(1.5), at(2.5))
    assert row.outcome.completed_at == at(7.5)
    assert merge(TRIGGERED, queued(offset=2)).times.queued_at == at(4)
    assert merge(TRIGGERED, skipped(offset=2)).outcome.completed_at == at(4)


def test_the_sentences_for_people() -> None:
    row = merge(TRIGGERED, skipped(Reason.ALREADY_QUEUED, "somehow else"))
    assert (row.outcome.skip_reason, row.outcome.error_message) == ("Already queued (max 1)", None)
    row = merge(TRIGGERED, skipped(Reason.DEVICE_BUSY, "box-1 runs nightly"))
    assert row.outcome.skip_reason == "box-1 runs nightly"
    assert merge(TRIGGERED, FAILED).outcome.error_message == "It ended with 3"
    silent = merge(TRIGGERED, finished(S.FAILED, reason=Reason.SILENT))
    assert silent.outcome.error_message == "It was stopped because it printed nothing for too long"
    cancelled = merge(TRIGGERED, finished(S.CANCELLED, message="It was cancelled")).outcome
    assert (cancelled.reason, cancelled.error_message) == (Reason.CANCELLED_BY_USER, None)


def test_endings_do_not_replace_each_other() -> None:
    completed = merge(TRIGGERED, finished())
    for other in (FAILED, skipped(), finished(S.CANCELLED)):
        assert merge(completed, other) == completed


def test_without_a_clock_offset_no_part_of_the_lateness_is_claimed() -> None:
    assert merge(TRIGGERED, started(offset=None)).times == Times(None, at(2), at(3), at(4))


def test_a_presumption_gives_way_to_the_host() -> None:
    missed = presume_missed(TRIGGERED, at(60), "Missed")
    assert (missed.status, missed.presumed, missed.counts) == (S.SKIPPED, True, False)
    row = merge(missed, started())
    assert (row.status, row.presumed, row.outcome) == (S.RUNNING, False, merge(TRIGGERED, started()).outcome)
    lost = presume_lost(merge(TRIGGERED, started()), at(60))
    assert (lost.status, lost.outcome.reason) == (S.FAILED, Reason.HOST_LOST)
    assert not lost.counts, "it keeps its place in the limit, but a deployment cannot complete by a presumption"
    assert merge(lost, finished()) == fold(TRIGGERED, started(), finished())


def test_a_repetition_does_not_open_again_what_was_given_up() -> None:
    lost = presume_lost(fold(TRIGGERED, queued(), started()), at(60))
    assert merge(lost, started()) == lost
    assert merge(lost, queued()) == lost
    waited = presume_lost(fold(TRIGGERED, queued()), at(60))
    assert merge(waited, queued()) == waited
    assert merge(waited, started()).status is S.RUNNING


def test_only_what_nobody_has_taken_is_ended_by_the_broker() -> None:
    running = merge(TRIGGERED, started())
    assert presume_missed(running, at(60), "Missed") == running
    assert never_delivered(running, at(60)) == running
    returned = never_delivered(TRIGGERED, at(60))
    assert (returned.status, returned.presumed, returned.outcome.reason) == (S.SKIPPED, False, Reason.UNDELIVERABLE)
    final = confirm(presume_missed(TRIGGERED, at(60), "Missed"))
    assert (final.presumed, final.status) == (False, S.SKIPPED)
    assert merge(final, queued()).status is S.SKIPPED


@pytest.mark.parametrize(
    ("fact", "counts"),
    [
        (finished(), True),
        (FAILED, True),
        (finished(S.FAILED, did_start=False), True),
        (finished(S.CANCELLED), True),
        (finished(S.CANCELLED, did_start=False), False),
        (skipped(), False),
        (started(), False),
    ],
)
def test_what_counts(fact: AnyFact, counts: bool) -> None:
    assert merge(TRIGGERED, fact).counts is counts


@pytest.mark.parametrize(
    ("status", "count", "limit", "more", "wanted"),
    [
        (DeploymentStatus.ACTIVE, 1, 3, 1, Tally(2, completes=False)),
        (DeploymentStatus.ACTIVE, 1, 3, 2, Tally(3, completes=True)),
        (DeploymentStatus.PAUSED, 2, 3, 1, Tally(3, completes=True)),
        (DeploymentStatus.STOPPED, 2, 3, 1, Tally(3, completes=False)),
        (DeploymentStatus.COMPLETED, 3, 3, -1, Tally(2, completes=False)),
        (DeploymentStatus.ACTIVE, 5, None, 1, Tally(6, completes=False)),
        (DeploymentStatus.ACTIVE, 0, None, -1, Tally(0, completes=False)),
    ],
)
def test_the_tally(status: DeploymentStatus, count: int, limit: int | None, more: int, wanted: Tally) -> None:
    assert tally(status, count, limit, more) == wanted


def told(fact: AnyFact, **more: Any) -> AnyFact:
    return fact.model_copy(update=more)


def test_only_another_final_fact_repeats_an_ending() -> None:
    first = told(finished(), sequence=5)
    row = merge(TRIGGERED, first)
    assert row.ended_by == Mark(ONE, 5)
    assert not repeats(TRIGGERED, first), "nothing has ended yet"
    assert not repeats(row, first), "the same fact, delivered or sent again"
    assert not repeats(row, started()), "late, and no ending"
    for again in (
        told(finished(), sequence=6),
        told(finished(), sequence=5, journal_id=TWO),
        told(skipped(), sequence=4),
    ):
        assert repeats(row, again)
        assert merge(row, again).ended_by == row.ended_by, "the first ending stands"


def test_an_ending_without_a_known_fact_is_not_repeated() -> None:
    known = replace(merge(TRIGGERED, finished()), ended_by=None)  # of an earlier release
    lost = presume_lost(merge(TRIGGERED, started()), at(9))
    for row in (known, lost, presume_missed(TRIGGERED, at(9), "m"), never_delivered(TRIGGERED, at(9))):
        assert row.ended_by is None
        assert not repeats(row, told(finished(), sequence=9))
    assert merge(lost, told(finished(), sequence=9)).ended_by == Mark(ONE, 9)


def test_no_number_is_too_large_to_be_written_down() -> None:
    assert mark(told(finished(), sequence=2**70)).sequence == 2**63 - 1
