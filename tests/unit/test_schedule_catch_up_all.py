"""Catch-up `all`: every fire of the time away runs, one after the other, as far as window, limit and room allow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice
from time import process_time
from uuid import UUID

import pytest

from libs.contracts import CatchUp, DeploymentStatus, Kind, OnDeviceBusy, Reason
from libs.ledger.rows import DeploymentRow
from libs.ledger.sentences import skip_sentence, skipped_sentence
from libs.schedule import Decision, decide, occurrences, window_seconds
from tests.unit.test_schedule_plan import PLAN, at

ALL = replace(PLAN, catch_up=CatchUp.ALL, catch_up_window_seconds=3600)
MINUTELY = replace(ALL, cron_expression="* * * * *", catch_up_window_seconds=86_400)


def told(decision: Decision) -> list[str]:
    return [
        f"{fire.scheduled_at:%H:%M} {fire.kind} {fire.reason or ('held' if fire.held else 'runs')}"
        for fire in decision.fires
    ]


@pytest.mark.parametrize(
    ("now", "held", "fires"),
    [
        # Alone and on time it goes out at once.
        ("09:00:00.04", 0, ["09:00 cron runs"]),
        ("09:01:00", 0, ["09:00 cron runs"]),
        # Late, or behind others, or one of several it is held.
        ("09:01:01", 0, ["09:00 catch_up held"]),
        ("09:00:00.04", 1, ["09:00 cron held"]),
        ("09:20:30", 0, ["09:00 catch_up held", "09:10 catch_up held", "09:20 cron held"]),
        ("09:25", 0, ["09:00 catch_up held", "09:10 catch_up held", "09:20 catch_up held"]),
        # What is older than the window is missed; the window's edge is inside.
        (
            "10:10:00",
            0,
            [
                "09:00 cron missed",
                *(f"09:{minute} catch_up held" for minute in range(10, 60, 10)),
                "10:00 catch_up held",
                "10:10 cron held",
            ],
        ),
    ],
)
def test_late(now: str, held: int, fires: list[str]) -> None:
    assert told(decide(ALL, at(now), in_flight=held, held=held)) == fires


def test_a_window_of_its_own_and_only_the_newest_in_it_runs_at_once() -> None:
    plan = replace(ALL, catch_up_window_seconds=300)
    assert told(decide(plan, at("09:10:30"), in_flight=0)) == ["09:00 cron missed", "09:10 cron runs"]
    assert told(decide(plan, at("09:16"), in_flight=0)) == ["09:00 cron missed", "09:10 cron missed"]
    assert window_seconds(CatchUp.ALL, 300) == 300


@pytest.mark.parametrize(
    ("limit", "count", "in_flight", "fires"),
    [
        (10, 0, 0, ["held", "held", "held"]),
        (2, 0, 0, ["held", "held", "limit_in_flight"]),
        (5, 1, 2, ["held", "held", "limit_in_flight"]),
        (3, 1, 2, ["limit_in_flight"] * 3),
        (3, 3, 0, ["limit_reached"] * 3),
    ],
)
def test_the_oldest_get_what_the_limit_leaves(limit: int, count: int, in_flight: int, fires: list[str]) -> None:
    plan = replace(ALL, max_executions=limit, execution_count=count)
    decision = decide(plan, at("09:25"), in_flight)
    assert [line.split()[2] for line in told(decision)] == fires
    assert (decision.status is DeploymentStatus.COMPLETED) == (count >= limit)


def test_a_hundred_are_held_at_once_and_those_are_the_newest() -> None:
    decision = decide(MINUTELY, at("11:29:30"), in_flight=0)
    assert [fire.reason for fire in decision.fires] == [Reason.MISSED] * 50 + [None] * 100
    assert all(fire.held == (fire.reason is None) for fire in decision.fires)
    assert decision.backlog is None
    assert decision.next_fire_at == at("11:30")
    more = decide(MINUTELY, at("15:00:30"), in_flight=0)
    assert [fire.scheduled_at for fire in more.fires] == [at("13:21") + timedelta(minutes=n) for n in range(100)]
    assert more.backlog is not None
    assert (more.backlog.from_at, more.backlog.until_at) == (at("09:00"), at("13:21"))


def test_the_hundred_counts_what_is_held_already() -> None:
    assert told(decide(MINUTELY, at("09:02:30"), in_flight=99, held=98)) == [
        "09:00 cron missed",
        "09:01 catch_up held",
        "09:02 cron held",
    ]
    full = decide(MINUTELY, at("09:02:30"), in_flight=100, held=100)
    assert [fire.reason for fire in full.fires] == [Reason.MISSED] * 3


def test_what_was_due_before_the_end_is_held_and_the_deployment_expires() -> None:
    decision = decide(replace(ALL, end_date=at("09:15")), at("09:18"), in_flight=0)
    assert told(decision) == ["09:00 catch_up held", "09:10 catch_up held"]
    assert decision.status is DeploymentStatus.EXPIRED


def test_paused_time_is_not_caught_up() -> None:
    assert decide(replace(ALL, status=DeploymentStatus.PAUSED), at("12:00"), 0) == Decision((), None, None, None, None)
    assert told(decide(replace(ALL, counted_from=at("09:25")), at("09:31:30"), 0)) == ["09:30 catch_up held"]


@pytest.mark.parametrize("expression", ["* * * * *", "0 0 1 1 *", "* * * 1 *", "0 9 * * 1-5"])
def test_years_away_cost_little_with_the_longest_window(expression: str) -> None:
    first = next(occurrences(expression, "UTC", at("08:59"), at("2034-01-01 00:00")))
    plan = replace(MINUTELY, cron_expression=expression, next_fire_at=first, catch_up_window_seconds=31_536_000)
    began = process_time()
    decision = decide(plan, at("2031-11-23 09:00:30"), in_flight=0)
    assert process_time() - began < 0.5
    window = timedelta(seconds=plan.catch_up_window_seconds)
    inside = occurrences(expression, "UTC", at("2031-11-23 09:00:30") - window, at("2031-11-23 09:00:30"))
    there_are = len(list(islice(inside, 100)))
    runs = [fire for fire in decision.fires if fire.reason is None]
    assert len(runs) == there_are > 0
    assert all(fire.held for fire in runs)


@pytest.mark.parametrize("steps", [(1, 3, 45, 0, 7, 200, 13), (61, 0.2), (700, 5)])
def test_every_fire_is_decided_once_and_all_that_run_but_one_are_held(steps: tuple[float, ...]) -> None:
    now, decided = at("08:59"), []
    plan = replace(ALL, cron_expression="*/13 * * * *", catch_up_window_seconds=5400)
    for minutes in steps * 6:
        now += timedelta(minutes=minutes, seconds=7)
        decision = decide(plan, now, in_flight=0)
        runs = [fire for fire in decision.fires if fire.reason is None]
        assert [fire.held for fire in runs] in ([], [False], [True] * len(runs))
        assert all(fire.late_seconds <= 5400 for fire in runs)
        assert all(fire.late_seconds > 5400 for fire in decision.fires if fire.reason is not None)
        assert all((fire.kind is Kind.CRON) == (fire.late_seconds <= 60) for fire in runs)
        decided += [fire.scheduled_at for fire in decision.fires]
        assert decision.backlog is None
        plan = replace(plan, next_fire_at=decision.next_fire_at)
    assert decided == list(occurrences("*/13 * * * *", "UTC", at("08:59"), now))


ROW = DeploymentRow(
    id=UUID(int=1),
    team_id=UUID(int=2),
    name="d",
    host_name="lab-1",
    device_id="stb-1",
    script_name="health.py",
    userinterface_name="",
    parameters=None,
    cron_expression="* * * * *",
    timezone="UTC",
    start_date=None,
    end_date=None,
    max_executions=2,
    execution_count=1,
    status=DeploymentStatus.ACTIVE,
    catch_up=CatchUp.ALL,
    catch_up_window_seconds=86_400,
    on_device_busy=OnDeviceBusy.SKIP,
    max_wait_seconds=3600,
    timeout_seconds=60,
    silence_timeout_seconds=None,
    version=1,
    counted_from=at("08:55"),
    next_fire_at=at("09:00"),
)


def test_the_sentences_say_how_late_and_why() -> None:
    row = replace(ROW, max_executions=None)
    now = at("09:02:30")
    first = decide(row.plan(), now, in_flight=100, held=100).fires[0]
    assert skip_sentence(row, first, now) == (
        "Missed: due at 2026-11-23T09:00:00Z, decided 150 s later; no more than 100 may wait to be caught up"
    )
    short = replace(row, catch_up_window_seconds=60)
    first = decide(short.plan(), now, in_flight=0).fires[0]
    assert skip_sentence(short, first, now) == (
        "Missed: due at 2026-11-23T09:00:00Z, decided 150 s later; "
        "it could start until 2026-11-23T09:01:00Z and catch-up is 'all'"
    )


def test_many_skipped_fires_are_told_in_one_sentence() -> None:
    now = at("09:04:30")
    assert skipped_sentence(ROW, decide(ROW.plan(), now, in_flight=0), now) == (
        "The runs that are still under way may use up the limit: 4 fires, 2026-11-23T09:01:00Z to 2026-11-23T09:04:00Z"
    )
    assert skipped_sentence(ROW, decide(ROW.plan(), at("09:00"), in_flight=0), at("09:00")) is None
    busy = decide(ROW.plan(), at("09:00"), in_flight=1)
    assert skipped_sentence(ROW, busy, at("09:00")) == (
        "The runs that are still under way may use up the limit: 1 of 2 counted, the others have not ended yet"
    )
    latest = replace(ROW, catch_up=CatchUp.LATEST, catch_up_window_seconds=60)
    days = at("2026-11-25 09:02:30")
    assert skipped_sentence(latest, decide(latest.plan(), days, in_flight=1), days) == (
        "It was due while it could not be started, and its window has passed: "
        "every fire from 2026-11-23T09:00:00Z on, before 2026-11-25T09:02:00Z; "
        "The runs that are still under way may use up the limit: 1 fire, 2026-11-25T09:02:00Z"
    )
