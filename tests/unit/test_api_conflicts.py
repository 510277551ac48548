"""Conflicts on a device: exactly the fires that the engine gives, and alternatives that really have none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts import OnDeviceBusy
from libs.schedule import occurrences, parse
from services.api.core.conflicts import (
    FIRES_LOOKED_AT,
    Busy,
    Conflict,
    Other,
    Schedule,
    alternative,
    conflicts,
    runs_per_day,
    would,
)

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
FAR = NOW + timedelta(days=366 * 50)
INSTANT = timedelta(microseconds=1)

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"])
MINUTES = st.sampled_from(["*", "*/5", "*/10", "0", "30", "0,30", "7-59/10", "45", "*/7", "0-10"])
HOURS = st.sampled_from(["*", "*/2", "9", "2", "1-3", "22-6", "9-17"])
DAYS = st.sampled_from(["* * *", "* * 1-5", "*/2 * 1", "1,15 * 1", "1 3 *"])
CRONS = st.builds(lambda *parts: " ".join(parts), MINUTES, HOURS, DAYS)
# Winter and summer, and on the changes of the clocks of all these zones.
MOMENTS = st.sampled_from(
    [NOW]
    + [
        datetime(2027, month, day, hour, tzinfo=UTC)
        for month, day, hour in ((3, 27, 23), (10, 30, 22), (4, 3, 12), (10, 2, 12), (3, 14, 5), (11, 7, 4))
    ]
)


def other(cron: str, name: str = "zap", tz: str = "UTC", **window: datetime) -> Other:
    return Other("lab-1", "stb-1", name, cron, tz, **window)


def schedule(cron: str, tz: str = "UTC", begin: datetime = NOW, until: datetime = FAR) -> Schedule:
    return Schedule(cron, tz, begin, until)


@given(CRONS, ZONES, MOMENTS)
def test_others_are_due_exactly_when_they_fire(cron: str, tz: str, begin: datetime) -> None:
    until = begin + timedelta(hours=8)
    every_minute = [begin + timedelta(minutes=passed) for passed in range(8 * 60 + 1)]
    found = [each.at for each in conflicts(every_minute, Busy([other(cron, tz=tz)]))]
    assert found == list(occurrences(cron, tz, begin - INSTANT, until))


@pytest.mark.parametrize(
    ("tz", "day"),
    [
        ("Europe/Berlin", datetime(2027, 3, 28, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2027, 10, 31, tzinfo=UTC)),
        ("America/New_York", datetime(2027, 3, 14, tzinfo=UTC)),
        ("America/New_York", datetime(2027, 11, 7, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2027, 4, 3, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2027, 10, 2, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "0 3 * * *", "15,45 1-2 * * *", "30 1 * * *", "0 2 * * *", "*/20 2 * * *", "30 * * * *"]
)
def test_a_change_of_the_clocks_is_the_engines_own(cron: str, tz: str, day: datetime) -> None:
    minutes = [day + timedelta(minutes=passed) for passed in range(24 * 60)]
    found = [each.at for each in conflicts(minutes, Busy([other(cron, tz=tz)]))]
    assert found == list(occurrences(cron, tz, day - INSTANT, minutes[-1]))


@settings(deadline=None, max_examples=50)
@given(CRONS, ZONES, st.lists(st.tuples(CRONS, ZONES), min_size=1, max_size=6), MOMENTS)
def test_an_alternative_has_the_same_cadence_and_no_conflict(
    cron: str, tz: str, others: list[tuple[str, str]], begin: datetime
) -> None:
    busy = Busy(other(each, f"d{number}", zone) for number, (each, zone) in enumerate(others))
    found = alternative(schedule(cron, tz, begin), busy)
    if found is None:
        return
    assert conflicts(schedule(found, tz, begin).fires(FIRES_LOOKED_AT), busy) == []
    before, after = parse(cron), parse(found)
    assert before.fields[1:] == after.fields[1:]
    assert len(before.fields[0].values) == len(after.fields[0].values)
    assert before.fields[0].values != after.fields[0].values


def test_no_alternative_is_kept_back() -> None:
    # Every other minute is taken but one: that one is found.
    taken = ",".join(str(minute) for minute in range(60) if minute != 37)
    assert alternative(schedule("0 * * * *"), Busy([other(f"{taken} * * * *")])) == "37 * * * *"
    assert alternative(schedule("0 * * * *"), Busy([other("* * * * *")])) is None
    assert alternative(schedule("* * * * *"), Busy([other("0 4 * * *")])) is None


@pytest.mark.parametrize(
    ("cron", "taken", "found"),
    [
        ("*/10 * * * *", "*/10 * * * *", "1-59/10 * * * *"),
        ("*/10 * * * *", "*/5 * * * *", "1-59/10 * * * *"),
        ("0 9 * * 1-5", "0-14 9 * * *", "15 9 * * 1-5"),
        ("0,30 * * * *", "*/30 * * * *", "1-59/30 * * * *"),
        ("58 4 * * *", "58 4 * * *", "59 4 * * *"),
        ("59 4 * * *", "59 4 * * *", "0 4 * * *"),
    ],
)
def test_the_nearest_turn_of_the_minutes(cron: str, taken: str, found: str) -> None:
    assert alternative(schedule(cron), Busy([other(taken)])) == found


def test_conflicts_name_instant_device_and_deployment() -> None:
    fires = schedule("*/30 * * * *").fires(4)
    busy = Busy([other("0 12 * * *", "noon", "Europe/Berlin"), other("0 * * * *", "hourly")])
    assert conflicts(fires, busy) == [
        Conflict(NOW, "lab-1", "stb-1", "hourly"),
        Conflict(NOW + timedelta(hours=1), "lab-1", "stb-1", "hourly"),
        Conflict(NOW + timedelta(hours=1), "lab-1", "stb-1", "noon"),
    ]


def test_start_is_inclusive_and_end_exclusive() -> None:
    fires = schedule("0 * * * *").fires(4)
    busy = Busy([other("0 * * * *", start_date=fires[1], end_date=fires[3])])
    assert [each.at for each in conflicts(fires, busy)] == fires[1:3]


def test_what_would_become_of_it() -> None:
    assert would(OnDeviceBusy.SKIP) == "skipped: device_busy"
    assert would(OnDeviceBusy.QUEUE) == "waits"


@pytest.mark.parametrize(
    ("cron", "runs"),
    [
        ("* * * * *", 1440),
        ("*/10 * * * *", 144),
        ("0 9 * * *", 1),
        ("0 9,21 * * *", 2),
        ("0 9 * * 1", 0.143),
        ("0 0 1 1 *", 0.003),
    ],
)
def test_runs_per_day(cron: str, runs: float) -> None:
    assert runs_per_day(cron, NOW.date()) == runs
