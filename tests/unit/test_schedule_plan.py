"""What is due: a plan and a time in, the whole decision out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import process_time
from typing import Final
from uuid import UUID

import pytest

from libs.contracts import CatchUp, DeploymentStatus, Kind, Reason
from libs.schedule import (
    Backlog,
    Decision,
    Plan,
    decide,
    due_at,
    first_fire,
    missed,
    next_occurrence,
    occurrences,
    window_seconds,
)

LATEST: Final = CatchUp.LATEST
NONE: Final = CatchUp.NONE
TICK = timedelta(microseconds=1)


def at(text: str) -> datetime:
    """A time of day on Monday 23 November 2026, or a whole date, in UTC."""
    return datetime.fromisoformat(text if "-" in text else f"2026-11-23 {text}").replace(tzinfo=UTC)


PLAN = Plan(
    deployment_id=UUID(int=1),
    status=DeploymentStatus.ACTIVE,
    version=1,
    cron_expression="*/10 * * * *",
    timezone="UTC",
    start_date=None,
    end_date=None,
    max_executions=None,
    execution_count=0,
    counted_from=at("08:55"),
    next_fire_at=at("09:00"),
    catch_up=LATEST,
    catch_up_window_seconds=600,
)


@dataclass
class Told:
    """A decision as one reads it aloud."""

    fires: list[str]
    next: str | None = None
    due: str | None = None
    status: DeploymentStatus | None = None
    backlog: tuple[str, str] | None = None


def clock(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%H:%M}"


def told(decision: Decision) -> Told:
    fires = [f"{fire.scheduled_at:%H:%M} {fire.kind} {fire.reason or 'runs'}" for fire in decision.fires]
    backlog = decision.backlog
    spoken = None if backlog is None else (f"{backlog.from_at:%m-%d %H:%M}", f"{backlog.until_at:%m-%d %H:%M}")
    return Told(fires, clock(decision.next_fire_at), clock(decision.next_due_at), decision.status, spoken)


def test_on_time() -> None:
    decision = decide(PLAN, at("09:00:00.040"), in_flight=0)
    assert told(decision) == Told(["09:00 cron runs"], "09:10", "09:10")
    (fire,) = decision.fires
    assert fire.not_after == at("09:10")
    assert fire.late_seconds == pytest.approx(0.04)


def test_early_nothing_is_decided_and_nothing_moves() -> None:
    assert told(decide(PLAN, at("09:00") - TICK, in_flight=0)) == Told([], "09:00", "09:00")
    assert told(decide(PLAN, at("09:00"), in_flight=0)) == Told(["09:00 cron runs"], "09:10", "09:10")


@pytest.mark.parametrize("status", [status for status in DeploymentStatus if status is not DeploymentStatus.ACTIVE])
def test_what_is_not_active_fires_nothing(status: DeploymentStatus) -> None:
    plan = replace(PLAN, status=status, max_executions=1, execution_count=1)
    assert decide(plan, at("12:00"), in_flight=0) == Decision((), None, None, None, None)


def test_what_is_paused_still_expires_at_its_end() -> None:
    plan = replace(PLAN, status=DeploymentStatus.PAUSED, end_date=at("10:00"))
    assert decide(plan, at("10:00") - TICK, in_flight=0) == Decision((), None, None, at("10:00"), None)
    assert decide(plan, at("10:00"), in_flight=0) == Decision((), DeploymentStatus.EXPIRED, None, None, None)


@pytest.mark.parametrize(
    ("now", "catch_up", "window", "fires"),
    [
        # On time is up to a minute late, whatever the policy.
        ("09:01:00", LATEST, 600, ["09:00 cron runs"]),
        ("09:01:00", NONE, 600, ["09:00 cron runs"]),
        ("09:01:00.000001", LATEST, 600, ["09:00 catch_up runs"]),
        ("09:01:00.000001", NONE, 600, ["09:00 cron missed"]),
        # The newest of several, if its window is open; the others are missed, although they lie inside the window.
        ("09:35", LATEST, 1800, ["09:00 cron missed", "09:10 cron missed", "09:20 cron missed", "09:30 catch_up runs"]),
        ("09:20:30", LATEST, 600, ["09:00 cron missed", "09:10 cron missed", "09:20 cron runs"]),
        ("09:20:30", NONE, 600, ["09:00 cron missed", "09:10 cron missed", "09:20 cron runs"]),
        ("09:25", NONE, 3600, ["09:00 cron missed", "09:10 cron missed", "09:20 cron missed"]),
        # A window shorter than the time away.
        ("09:25", LATEST, 300, ["09:00 cron missed", "09:10 cron missed", "09:20 catch_up runs"]),
        ("09:25:01", LATEST, 300, ["09:00 cron missed", "09:10 cron missed", "09:20 cron missed"]),
    ],
)
def test_late(now: str, catch_up: CatchUp, window: int, fires: list[str]) -> None:
    assert catch_up is not CatchUp.ALL
    plan = replace(PLAN, catch_up=catch_up, catch_up_window_seconds=window)
    decision = decide(plan, at(now), in_flight=0)
    assert told(decision).fires == fires
    assert decision.next_fire_at == next_occurrence(PLAN.cron_expression, "UTC", decision.fires[-1].scheduled_at)
    for fire in decision.fires:
        assert fire.not_after == fire.scheduled_at + timedelta(seconds=window_seconds(catch_up, window))
        assert fire.late_seconds == (at(now) - fire.scheduled_at).total_seconds()


def test_the_window_of_none_is_a_minute() -> None:
    assert window_seconds(NONE, 600) == 60
    assert window_seconds(LATEST, 600) == 600


@pytest.mark.parametrize(
    ("limit", "count", "in_flight", "expected"),
    [
        (3, 2, 0, Told(["09:00 cron runs"], "09:10", "09:10")),
        (3, 1, 1, Told(["09:00 cron runs"], "09:10", "09:10")),
        (3, 2, 1, Told(["09:00 cron limit_in_flight"], "09:10", "09:10")),
        (3, 0, 3, Told(["09:00 cron limit_in_flight"], "09:10", "09:10")),
        (3, 0, 7, Told(["09:00 cron limit_in_flight"], "09:10", "09:10")),
        (3, 3, 0, Told(["09:00 cron limit_reached"], status=DeploymentStatus.COMPLETED)),
        (3, 4, 2, Told(["09:00 cron limit_reached"], status=DeploymentStatus.COMPLETED)),
    ],
)
def test_the_limit(limit: int, count: int, in_flight: int, expected: Told) -> None:
    plan = replace(PLAN, max_executions=limit, execution_count=count)
    assert told(decide(plan, at("09:00:01"), in_flight)) == expected


def test_the_limit_asks_only_the_fire_that_would_run() -> None:
    plan = replace(PLAN, max_executions=1)
    late = told(decide(plan, at("09:13"), in_flight=1))
    assert late.fires == ["09:00 cron missed", "09:10 catch_up limit_in_flight"]


@pytest.mark.parametrize(
    ("end", "now", "expected"),
    [
        # The end is exclusive.
        ("09:00", "09:00:00.5", Told([], status=DeploymentStatus.EXPIRED)),
        ("09:00:01", "09:00:00.5", Told(["09:00 cron runs"], None, "09:00")),
        ("09:00:01", "09:00:01", Told(["09:00 cron runs"], status=DeploymentStatus.EXPIRED)),
        ("09:10", "09:00:00.5", Told(["09:00 cron runs"], None, "09:10")),
        ("09:11", "09:00:00.5", Told(["09:00 cron runs"], "09:10", "09:10")),
        # What was due before the end is decided before the deployment ends; nothing after it is.
        ("09:15", "09:18", Told(["09:00 cron missed", "09:10 catch_up runs"], status=DeploymentStatus.EXPIRED)),
        ("09:15", "12:00", Told(["09:00 cron missed", "09:10 cron missed"], status=DeploymentStatus.EXPIRED)),
        ("09:10", "09:10", Told(["09:00 catch_up runs"], status=DeploymentStatus.EXPIRED)),
        ("08:58", "08:57", Told([], None, "08:58")),
    ],
)
def test_the_end_date(end: str, now: str, expected: Told) -> None:
    next_fire_at = PLAN.next_fire_at if at(end) > at("08:59") else None
    plan = replace(PLAN, end_date=at(end), next_fire_at=next_fire_at)
    assert told(decide(plan, at(now), in_flight=0)) == expected


def test_a_deployment_whose_last_fire_is_behind_it_only_waits_for_its_end() -> None:
    waiting = replace(PLAN, next_fire_at=None, end_date=at("09:30"))
    assert told(decide(waiting, at("09:29:59"), in_flight=0)) == Told([], None, "09:30")
    assert told(decide(waiting, at("09:30"), in_flight=0)) == Told([], status=DeploymentStatus.EXPIRED)
    assert told(decide(replace(waiting, end_date=None), at("12:00"), in_flight=0)) == Told([])


def test_fires_from_before_the_start_or_the_last_resume_are_not_due() -> None:
    resumed = replace(PLAN, counted_from=at("09:25"))
    assert told(decide(resumed, at("09:27"), in_flight=0)) == Told([], "09:30", "09:30")
    assert told(decide(resumed, at("09:30"), in_flight=0)) == Told(["09:30 cron runs"], "09:40", "09:40")
    starting = replace(PLAN, start_date=at("09:40"))
    assert told(decide(starting, at("09:41"), in_flight=0)) == Told(["09:40 cron runs"], "09:50", "09:50")


def test_a_hundred_missed_fires_are_written_at_once_and_more_become_a_backlog() -> None:
    plan = replace(PLAN, cron_expression="* * * * *")
    hundred = decide(plan, at("10:40:05"), in_flight=0)
    assert [fire.reason for fire in hundred.fires] == [Reason.MISSED] * 100 + [None]
    assert hundred.backlog is None
    more = decide(plan, at("10:41:05"), in_flight=0)
    assert told(more) == Told(["10:41 cron runs"], "10:42", "10:42", backlog=("11-23 09:00", "11-23 10:41"))


def test_a_backlog_is_written_in_bounded_steps_each_fire_once() -> None:
    plan = replace(PLAN, cron_expression="* * * * *")
    now = at("2026-11-24 03:00:05")
    backlog = decide(plan, now, in_flight=0).backlog
    steps = []
    written: list[datetime] = []
    while backlog is not None:
        fires, backlog = missed(backlog, plan.cron_expression, "UTC", now=now, window=600)
        steps.append(len(fires))
        written += [fire.scheduled_at for fire in fires]
        assert {(fire.kind, fire.reason) for fire in fires} == {(Kind.CRON, Reason.MISSED)}
        assert all(fire.late_seconds == (now - fire.scheduled_at).total_seconds() for fire in fires)
        assert all(fire.not_after - fire.scheduled_at == timedelta(minutes=10) for fire in fires)
    assert steps == [500, 500, 80]
    assert written == list(occurrences("* * * * *", "UTC", at("08:59"), at("2026-11-24 02:59")))


def test_an_exact_step_leaves_no_empty_one() -> None:
    fires, rest = missed(Backlog(at("09:00"), at("09:50")), "*/10 * * * *", "UTC", limit=5)
    assert ([clock(fire.scheduled_at) for fire in fires], rest) == (["09:00", "09:10", "09:20", "09:30", "09:40"], None)
    assert missed(Backlog(at("09:00"), at("09:00")), "*/10 * * * *", "UTC") == ((), None)


@pytest.mark.parametrize(
    ("expression", "now", "newest"),
    [
        ("* * * * *", "2028-11-23 09:00:30", "2028-11-23 09:00"),
        ("*/7 3 * * *", "2028-11-23 09:00:30", "2028-11-23 03:56"),
        ("* * * 1 *", "2028-11-23 09:00:30", "2028-01-31 23:59"),
        ("0 0 29 2 *", "2034-11-23 09:00:30", "2032-02-29 00:00"),
        ("15 10 * * 1-5", "2028-11-26 09:00:30", "2028-11-24 10:15"),
    ],
)
def test_years_away_cost_no_more_than_a_few_searches(expression: str, now: str, newest: str) -> None:
    upcoming = next_occurrence(expression, "Europe/London", at("08:59"))
    plan = replace(PLAN, cron_expression=expression, timezone="Europe/London", next_fire_at=upcoming)
    began = process_time()
    decision = decide(plan, at(now), in_flight=0)
    assert process_time() - began < 0.5
    assert decision.fires[-1].scheduled_at == at(newest)
    assert decision.next_fire_at == next_occurrence(expression, "Europe/London", at(now))


def test_every_fire_is_decided_once_however_the_scheduler_sleeps() -> None:
    """The invariant behind it all, over a change of the clock: no fire is left out, none is decided twice."""
    plan = replace(
        PLAN,
        cron_expression="*/13 0-5 * * *",
        timezone="Europe/Berlin",
        next_fire_at=first_fire("*/13 0-5 * * *", "Europe/Berlin", None, None, at("2026-10-24 20:00")),
        counted_from=at("2026-10-24 20:00"),
    )
    now, decided = at("2026-10-24 20:00"), []
    for minutes in islice((step for _ in range(99) for step in (1, 3, 45, 0, 7, 200, 13)), 60):
        now += timedelta(minutes=minutes, seconds=7)
        decision = decide(plan, now, in_flight=0)
        decided += [fire.scheduled_at for fire in decision.fires]
        plan = replace(plan, next_fire_at=decision.next_fire_at)
        assert sum(fire.reason is None for fire in decision.fires) <= 1
        assert decision.backlog is None
    assert decided == list(occurrences(plan.cron_expression, "Europe/Berlin", at("2026-10-24 20:00"), now))
    assert len(decided) > 35


@pytest.mark.parametrize(
    ("start", "end", "counted_from", "expected"),
    [
        (None, None, "09:00", "09:00"),
        (None, None, "09:00:00.000001", "09:10"),
        ("09:30", None, "09:00", "09:30"),
        ("09:31", None, "09:00", "09:40"),
        ("08:00", None, "09:05", "09:10"),
        (None, "09:10", "09:05", None),
        (None, "09:10:00.000001", "09:05", "09:10"),
    ],
)
def test_the_first_fire(start: str | None, end: str | None, counted_from: str, expected: str | None) -> None:
    dates = [at(text) if text else None for text in (start, end)]
    assert clock(first_fire("*/10 * * * *", "UTC", dates[0], dates[1], at(counted_from))) == expected


def test_due_is_the_fire_or_the_end_whichever_is_first() -> None:
    early, late = at("09:00"), at("10:00")
    assert due_at(early, late) == due_at(late, early) == due_at(early, None) == due_at(None, early) == early
    assert due_at(None, None) is None


@pytest.mark.parametrize("start", [None, "09:25"])
@pytest.mark.parametrize("end", [None, "09:50"])
@pytest.mark.parametrize("limit", [None, 2, 4])
def test_start_end_and_limit_alone_and_together(start: str | None, end: str | None, limit: int | None) -> None:
    """Every combination, walked as a scheduler does, each run ending before the next fire."""
    begin, until = (at(text) if text else None for text in (start, end))
    first = first_fire("*/10 * * * *", "UTC", begin, until, at("08:55"))
    plan = replace(PLAN, start_date=begin, end_date=until, max_executions=limit, next_fire_at=first)
    due, ran, ended_at = due_at(first, until), [], None
    while due is not None and due <= at("10:30"):
        decision = decide(plan, due, in_flight=0)
        assert all(fire.reason in (None, Reason.LIMIT_REACHED) for fire in decision.fires)
        ran += [fire.scheduled_at for fire in decision.fires if fire.reason is None]
        if decision.status is not None:
            ended_at = (decision.status, due)
        plan = replace(plan, next_fire_at=decision.next_fire_at, execution_count=len(ran))
        due = decision.next_due_at
    inside = [
        fire for fire in occurrences("*/10 * * * *", "UTC", at("08:55"), at("10:30")) if begin is None or fire >= begin
    ]
    inside = [fire for fire in inside if until is None or fire < until]
    assert ran == inside[:limit]
    if limit is not None and limit <= len(inside):
        # By the ingest it completes with its last run; asked only when due, with the next fire or at its end.
        assert ended_at == (DeploymentStatus.COMPLETED, inside[limit] if limit < len(inside) else until)
    else:
        assert ended_at == (None if until is None else (DeploymentStatus.EXPIRED, until))
