"""Why did it not run? Every point of the owner's troubleshooting lists, and everything else that a minute can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import SENTENCES, DeploymentStatus, ExecutionStatus, Kind, OnDeviceBusy, Reason
from services.api.core.why import Answer, Verdict, explain
from services.api.core.why_checks import ORDER
from services.api.core.why_facts import Facts, Neighbour, Place, Run, Version
from services.api.core.why_fires import around

T = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
ID = UUID(int=1)
RUN = UUID(int=2)
S = ExecutionStatus
D = DeploymentStatus


def version(valid_from: datetime = T - DAY, **values: Any) -> Version:
    base: dict[str, Any] = {
        "valid_from": valid_from,
        "counted_from": T - DAY,
        "cron_expression": "*/10 * * * *",
        "timezone": "UTC",
        "start_date": None,
        "end_date": None,
        "max_executions": None,
        "status": D.ACTIVE,
        "status_reason": None,
        "deleted": False,
        "changed_by": None,
        "on_device_busy": OnDeviceBusy.SKIP,
        "max_wait_seconds": 3600,
        "catch_up_window_seconds": 600,
    }
    return Version(**(base | values))


PLACE = Place("lab-1", "stb-1", is_enrolled=True, is_online=True, last_seen_at=T, has_device=True)


def facts(*versions: Version, **values: Any) -> Facts:
    base: dict[str, Any] = {
        "deployment_id": ID,
        "now": T + timedelta(hours=1),
        "minute": T,
        "versions": versions or (version(),),
        "created_at": T - DAY,
        "created_by": "alice",
        "counted": 0,
        "in_flight": 0,
        "run": None,
        "neighbour": None,
        "place": PLACE,
        "typical_seconds": None,
        "next_fire_at": T + 2 * DAY,
        "firing": True,
        "in_backlog": False,
    }
    return Facts(**(base | values))


def run(status: ExecutionStatus, reason: Reason | None = None, **values: Any) -> Run:
    base: dict[str, Any] = {
        "id": RUN,
        "kind": Kind.CRON,
        "status": status,
        "reason": reason,
        "message": SENTENCES[reason] if reason else None,
        "presumed": False,
        "held": False,
        "scheduled_at": T,
        "decided_at": T + timedelta(seconds=0.1),
        "not_after": T + timedelta(seconds=600),
        "queued_at": None,
        "started_at": None,
        "completed_at": None,
        "duration_seconds": None,
        "triggered_by": None,
    }
    return Run(**(base | values))


def started(status: ExecutionStatus, reason: Reason | None = None, **values: Any) -> Run:
    return run(status, reason, started_at=T + timedelta(seconds=2), duration_seconds=12.3, **values)


SOON = {"now": T - MINUTE}
OTHER = Neighbour(UUID(int=3), "zapping", is_own=False, started_at=T - MINUTE)
OWN = Neighbour(UUID(int=4), "health", is_own=True, started_at=T - 8 * MINUTE)
BY_HAND: dict[str, Any] = {"changed_by": "bob", "status_reason": "rack moved"}
CASES: dict[str, tuple[Facts, str, str | None, str]] = {
    # --- no fire, by the version that held then
    "before creation": (
        facts(version(T + MINUTE), created_at=T + MINUTE),
        "no_fire",
        "exists",
        "No fire: it was created at 2026-11-23 10:31 UTC by alice, after this minute.",
    ),
    "paused then, active again now": (
        facts(version(T + MINUTE), version(T - MINUTE, status=D.PAUSED, **BY_HAND), version()),
        "no_fire",
        "status",
        "No fire: it was paused, since 2026-11-23 10:29 UTC by bob: rack moved.",
    ),
    "paused and edited while paused: the pause counts": (
        facts(version(T - MINUTE, status=D.PAUSED), version(T - 5 * MINUTE, status=D.PAUSED, **BY_HAND), version()),
        "no_fire",
        "status",
        "since 2026-11-23 10:25 UTC by bob",
    ),
    "stopped": (
        facts(version(T - MINUTE, status=D.STOPPED, **BY_HAND), version()),
        "no_fire",
        "status",
        "it was stopped, since 2026-11-23 10:29 UTC by bob: rack moved.",
    ),
    "completed early: the limit": (
        facts(
            version(
                T - MINUTE,
                status=D.COMPLETED,
                max_executions=20,
                changed_by="rigbeat",
                status_reason="The limit of executions was reached",
            ),
            version(max_executions=20),
            counted=20,
        ),
        "no_fire",
        "status",
        "it was completed, since 2026-11-23 10:29 UTC by rigbeat: The limit of executions was reached (20 executions).",
    ),
    "expired": (
        facts(
            version(T - MINUTE, status=D.EXPIRED, end_date=T - MINUTE, changed_by="rigbeat"),
            version(end_date=T - MINUTE),
        ),
        "no_fire",
        "status",
        "it was expired",
    ),
    "deleted": (
        facts(version(T - MINUTE, status=D.STOPPED, deleted=True, changed_by="bob"), version()),
        "no_fire",
        "exists",
        "it was deleted at 2026-11-23 10:29 UTC by bob.",
    ),
    "before its start date": (
        facts(version(start_date=T + DAY)),
        "no_fire",
        "start_date",
        "it starts later, at 2026-11-24 10:30 UTC.",
    ),
    "at its end date, not yet expired": (
        facts(version(end_date=T)),
        "no_fire",
        "end_date",
        "it ended before, at 2026-11-23 10:30 UTC.",
    ),
    "cron does not fire there": (
        facts(minute=T + 3 * MINUTE),
        "no_fire",
        "cron",
        "does not fire at 2026-11-23 10:33 UTC; before: 2026-11-23 10:30 UTC, after: 2026-11-23 10:40 UTC.",
    ),
    "cron in its own zone": (
        facts(version(cron_expression="0 9 * * *", timezone="Europe/Berlin")),
        "no_fire",
        "cron",
        "before: 2026-11-23 09:00 Europe/Berlin, after: 2026-11-24 09:00 Europe/Berlin",
    ),
    # --- it fired: the row tells
    "ran": (
        facts(run=started(S.COMPLETED)),
        "ran",
        None,
        "It ran at 2026-11-23 10:30:02 UTC for 12.3 s and succeeded.",
    ),
    "ran late": (facts(run=started(S.COMPLETED)), "ran", None, "It started 2.0 s after its time."),
    "failed": (
        facts(run=started(S.FAILED, Reason.EXIT_CODE, message="Ended with exit code 3")),
        "ran",
        None,
        "and failed: Ended with exit code 3.",
    ),
    "failed before its script began": (
        facts(run=run(S.FAILED, Reason.SCRIPT_NOT_FOUND)),
        "ran",
        None,
        "It was tried and failed: There is no such script on the host.",
    ),
    "host lost, presumed": (
        facts(run=started(S.FAILED, Reason.HOST_LOST, presumed=True)),
        "ran",
        None,
        "This is presumed: the host's word still counts when it comes.",
    ),
    "running": (facts(run=started(S.RUNNING)), "ran", None, "It has been running since 2026-11-23 10:30:02 UTC."),
    "cancelled while it ran": (facts(run=started(S.CANCELLED)), "ran", None, "and was cancelled."),
    "cancelled in the queue": (
        facts(run=run(S.CANCELLED)),
        "skipped",
        "person",
        "It was cancelled before it started.",
    ),
    "queued behind itself": (
        facts(run=run(S.QUEUED, queued_at=T + MINUTE), neighbour=OWN),
        "will_run",
        None,
        f"It waits since 2026-11-23 10:31 UTC behind its own run, {OWN.id}, which began at 2026-11-23 10:22 UTC.",
    ),
    "queued behind another": (
        facts(run=run(S.QUEUED, Reason.DEVICE_BUSY, queued_at=T), neighbour=OTHER),
        "will_run",
        None,
        f"behind a run of zapping, {OTHER.id}",
    ),
    "queued behind a lock": (
        facts(run=run(S.QUEUED, Reason.DEVICE_LOCKED, queued_at=T)),
        "will_run",
        None,
        "It waits since 2026-11-23 10:30 UTC: The device was locked by a person.",
    ),
    "sent, not answered": (
        facts(run=run(S.TRIGGERED)),
        "will_run",
        None,
        "It was sent to lab-1, which has not answered yet. It may start until 2026-11-23 10:40 UTC.",
    ),
    "sent to a host that is offline": (
        facts(run=run(S.TRIGGERED), place=replace(PLACE, is_online=False)),
        "will_run",
        None,
        "has not answered yet; lab-1 is offline.",
    ),
    "held by catch-up all": (
        facts(run=run(S.TRIGGERED, held=True)),
        "will_run",
        None,
        "It waits for the missed run before it; catch-up 'all'",
    ),
    "caught up": (
        facts(run=started(S.COMPLETED, kind=Kind.CATCH_UP)),
        "ran",
        None,
        "It caught up and ran at 2026-11-23 10:30:02 UTC",
    ),
    "a run now, of a paused deployment": (
        facts(
            version(T - MINUTE, status=D.PAUSED, **BY_HAND),
            run=started(S.COMPLETED, kind=Kind.MANUAL, triggered_by="bob"),
            minute=T + MINUTE,
        ),
        "ran",
        None,
        "A run now ran at",
    ),
    "skipped too often: its script takes longer than its interval": (
        facts(version(cron_expression="*/5 * * * *"), run=run(S.SKIPPED, Reason.ALREADY_QUEUED), typical_seconds=420),
        "skipped",
        "slot",
        "It was skipped: Already queued (max 1). Its runs take 420 s as a rule, and its fires are 300 s apart:",
    ),
    "skipped once, its script is quick as a rule": (
        facts(run=run(S.SKIPPED, Reason.ALREADY_QUEUED), typical_seconds=20),
        "skipped",
        "slot",
        "Its runs take 20.0 s as a rule, less than the 600 s to the next fire.",
    ),
    "missed: nobody was there": (
        facts(
            run=run(
                S.SKIPPED,
                Reason.MISSED,
                decided_at=T + timedelta(seconds=2000),
                message="Missed: due at 2026-11-23T10:30:00Z, decided 2000 s later",
            )
        ),
        "skipped",
        "scheduler",
        "decided 2000 s later.",
    ),
    "missed: the host did not take it": (
        facts(
            run=run(S.SKIPPED, Reason.MISSED, presumed=True, message="Missed: the host did not report it by the end")
        ),
        "skipped",
        "host",
        "the host did not report it by the end. This is presumed",
    ),
    # --- it has no row although it should
    "in a backlog": (facts(in_backlog=True), "skipped", "scheduler", "its row is still to be written."),
    "due and not decided yet": (
        facts(now=T + timedelta(seconds=2), next_fire_at=T),
        "will_run",
        "scheduler",
        "Due at 2026-11-23 10:30 UTC, 2.0 s ago, and not decided yet",
    ),
    "firing is held": (facts(firing=False, next_fire_at=T), "will_run", "scheduler", "firing is held after a restore"),
    "a row is missing": (facts(), "no_fire", "scheduler", "please run `rigbeat verify`."),
    # --- to come
    "will run": (facts(**SOON), "will_run", None, "It will run at 2026-11-23 10:30 UTC, unless"),
    "paused now": (facts(version(status=D.PAUSED, **BY_HAND), **SOON), "no_fire", "status", "it is paused, since"),
    "the host is offline": (
        facts(**SOON, place=replace(PLACE, is_online=False)),
        "will_be_skipped",
        "host",
        "lab-1 is offline, last heard at 2026-11-23 10:30 UTC.",
    ),
    "the host was never heard": (
        facts(**SOON, place=replace(PLACE, is_online=False, last_seen_at=None)),
        "will_be_skipped",
        "host",
        "lab-1 is offline, never heard.",
    ),
    "the host is revoked": (
        facts(**SOON, place=replace(PLACE, is_enrolled=False)),
        "will_be_skipped",
        "host",
        "lab-1 is revoked",
    ),
    "the device is gone": (
        facts(**SOON, place=replace(PLACE, has_device=False)),
        "will_be_skipped",
        "host",
        "has no device stb-1 any more.",
    ),
    "locked past it": (
        facts(**SOON, place=replace(PLACE, lock_owner="carol", lock_reason="demo", lock_expires_at=T + MINUTE)),
        "will_be_skipped",
        "device_lock",
        "carol holds stb-1 (demo) until 2026-11-23 10:31 UTC.",
    ),
    "locked for ever": (
        facts(**SOON, place=replace(PLACE, lock_owner="carol")),
        "will_be_skipped",
        "device_lock",
        "carol holds stb-1 until somebody unlocks it.",
    ),
    "locked until before it": (
        facts(**SOON, place=replace(PLACE, lock_owner="carol", lock_expires_at=T)),
        "will_run",
        None,
        "It will run",
    ),
    "locked, but it waits": (
        facts(
            version(on_device_busy=OnDeviceBusy.QUEUE),
            **SOON,
            place=replace(PLACE, lock_owner="carol", lock_expires_at=T + MINUTE),
        ),
        "will_run",
        None,
        "It will run",
    ),
    "the limit will be reached by then": (
        facts(version(max_executions=5), now=T - 25 * MINUTE, counted=3),
        "will_be_skipped",
        "limit",
        "3 of 5 executions count now; 2 more fires come before this one",
    ),
    "just within the limit": (
        facts(version(max_executions=5), now=T - 25 * MINUTE, counted=2),
        "will_run",
        None,
        "It will run",
    ),
    "what is in flight may use it up": (
        facts(version(max_executions=5), **SOON, counted=4, in_flight=1),
        "will_be_skipped",
        "limit",
        "4 of 5 executions count and 1 more may: nothing is left",
    ),
    "busy now is no verdict yet": (facts(**SOON, neighbour=OTHER), "will_run", None, "It will run"),
}


@pytest.mark.parametrize("case", CASES)
def test_verdict_reason_and_words(case: str) -> None:
    known, verdict, by, words = CASES[case]
    answer = explain(known)
    assert (answer.verdict, answer.by) == (verdict, by), answer
    assert words in answer.sentence
    holds_together(answer)


def holds_together(answer: Answer) -> None:
    assert tuple(check.check for check in answer.checks) == ORDER
    assert all(check.sentence.endswith((".", "…")) for check in answer.checks), answer.checks
    if answer.by in ORDER:
        assert next(check for check in answer.checks if check.check == answer.by).ok is False
    if answer.verdict is Verdict.WILL_RUN and answer.by is None and answer.execution_id is None:
        assert all(check.ok for check in answer.checks)


BY = {
    Reason.ALREADY_QUEUED: "slot",
    Reason.DEVICE_BUSY: "device_busy",
    Reason.DEVICE_LOCKED: "device_lock",
    Reason.HOST_BUSY: "host",
    Reason.WAITED_TOO_LONG: "device_busy",
    Reason.LIMIT_IN_FLIGHT: "limit",
    Reason.LIMIT_REACHED: "limit",
    Reason.PAUSED: "status",
    Reason.STOPPED: "status",
    Reason.DELETED: "status",
    Reason.EXPIRED: "end_date",
    Reason.UNDELIVERABLE: "host",
    Reason.UNKNOWN_DEVICE: "host",
    Reason.MISSED: "host",
}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_check_and_its_words(reason: Reason) -> None:
    skips = reason in BY
    answer = explain(facts(run=run(S.SKIPPED if skips else S.FAILED, reason)))
    assert answer.verdict == ("skipped" if skips else "ran")
    assert SENTENCES[reason].rstrip(".") in answer.sentence
    assert answer.by == BY.get(reason)
    assert answer.execution_id == RUN
    holds_together(answer)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (facts(version(status=D.PAUSED), **SOON), ["resume", "run"]),
        (facts(version(status=D.STOPPED)), ["copy"]),
        (facts(version(max_executions=1), **SOON, counted=1), ["raise_limit", "run"]),
        (facts(version(start_date=T + DAY), **SOON), ["edit_dates", "run"]),
        (facts(minute=T + MINUTE), ["edit_schedule", "run"]),
        (facts(**SOON, place=replace(PLACE, lock_owner="carol")), ["unlock", "run"]),
        (facts(run=run(S.SKIPPED, Reason.DEVICE_BUSY)), ["wait_for_device", "run"]),
        (facts(run=run(S.SKIPPED, Reason.ALREADY_QUEUED)), ["edit_schedule", "run"]),
        (facts(run=run(S.SKIPPED, Reason.DEVICE_LOCKED)), ["run"]),
        (facts(run=run(S.QUEUED)), ["cancel"]),
        (facts(run=started(S.RUNNING)), ["cancel"]),
        (facts(run=started(S.COMPLETED)), ["log"]),
        (facts(run=started(S.FAILED, Reason.EXIT_CODE)), ["log", "run"]),
    ],
)
def test_what_a_person_may_do_about_it(known: Facts, wanted: list[str]) -> None:
    found = explain(known).actions
    assert [action.action for action in found] == wanted
    assert all(action.path.startswith("/api/v1/") for action in found)


def test_the_instant_of_a_change_belongs_to_what_was_before_it() -> None:
    paused_at_it = facts(version(T, status=D.PAUSED), version(), run=started(S.COMPLETED))
    assert paused_at_it.ruling == version()
    resumed_at_it = facts(version(T, counted_from=T), version(T - MINUTE, status=D.PAUSED))
    assert resumed_at_it.ruling == version(T, counted_from=T)


def test_a_change_of_the_clocks_is_said() -> None:
    berlin = version(cron_expression="30 2 * * *", timezone="Europe/Berlin")
    skipped = around(berlin, datetime(2026, 3, 29, 0, 30, tzinfo=UTC))
    assert not skipped.here
    assert skipped.after == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert "go forward" in skipped.notes[0]


@pytest.mark.parametrize(
    ("cron", "before"),
    [
        ("* * * * *", T - MINUTE),
        ("30 10 * * *", T - DAY),
        ("0 0 29 2 *", datetime(2024, 2, 29, tzinfo=UTC)),
        ("* * 1 1 *", datetime(2026, 1, 1, 23, 59, tzinfo=UTC)),
    ],
)
def test_the_fire_before_is_found_however_rare(cron: str, before: datetime) -> None:
    assert around(version(cron_expression=cron), T).before == before


@pytest.mark.parametrize("versions", [(version(),), (version(T + DAY, status=D.STOPPED),)])
def test_what_is_older_than_what_is_kept_is_not_made_up(versions: tuple[Version, ...]) -> None:
    """Neither from the rules of later versions, nor by calling a row that was removed a fault."""
    kept_from = T + MINUTE
    answer = explain(facts(*versions, kept_from=kept_from))
    assert answer.verdict is Verdict.FORGOTTEN
    assert "begins at 2026-11-23 10:31 UTC" in answer.sentence
    assert [check.check for check in answer.checks] == list(ORDER)
    assert {check.ok for check in answer.checks} == {None}
    # A row that was kept is told all the same; so is what is not older.
    assert explain(facts(run=started(S.COMPLETED), kept_from=kept_from)).verdict is Verdict.RAN
    assert explain(facts(kept_from=T)).verdict is Verdict.NO_FIRE
    assert explain(facts(created_at=T + MINUTE, versions=(version(T + MINUTE),), kept_from=T + DAY)).by == "exists"
