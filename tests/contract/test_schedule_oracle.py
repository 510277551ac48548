"""Random expressions around changes of the clock, against two oracles that share no code with the product.

cronsim is Debian's rule by another author. It is not exact for jobs of real time where the clock changes at another
minute than :00 (it can even walk in circles there) or skips midnight; there a walk through every minute is the oracle.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from cronsim import CronSim

from libs.schedule import next_occurrence, occurrences, parse, zone
from libs.schedule.zones import segment_end

ROUNDS = 150
WHOLE_HOURS = (
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Istanbul",
    "America/New_York",
    "America/Los_Angeles",
    "America/Mexico_City",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Australia/Sydney",
    "Asia/Kolkata",
    "UTC",
)
WAYS_OF_THEIR_OWN = (
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Santiago",
    "Asia/Gaza",
    "Pacific/Apia",
)
_MINUTE = timedelta(minutes=1)


def every_minute(expression: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    """Look at the clock in every minute of real time, with cronsim's reading of the fields."""
    simulated, tz = CronSim(expression, datetime(2000, 1, 1)), zone(timezone)  # noqa: DTZ001 - for its fields only
    found = []
    now = after + _MINUTE
    while now <= until:
        wall = now.astimezone(tz)
        if (
            wall.minute in simulated.minutes
            and wall.hour in simulated.hours
            and wall.month in simulated.months
            and simulated.match_day(wall.date())
        ):
            found.append(now)
        now += _MINUTE
    return found


def cronsims(expression: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    walk: Iterator[datetime] = (fire.astimezone(UTC) for fire in CronSim(expression, after.astimezone(zone(timezone))))
    return list(takewhile(lambda fire: fire <= until, islice(walk, 10_000)))


def changes(timezone: str, year: int) -> list[datetime]:
    found = []
    moment = datetime(year, 1, 1, tzinfo=UTC)
    while (moment := segment_end(timezone, moment)).year == year:
        found.append(moment)
    return found or [datetime(year, 7, 1, tzinfo=UTC)]


def field(draw: random.Random, low: int, high: int) -> str:
    shape = draw.random()
    if shape < 0.3:
        return "*"
    if shape < 0.5:
        return f"*/{draw.randint(1, (high - low) // 2)}"
    if shape < 0.7:
        return str(draw.randint(low, high))
    if shape < 0.85:
        return ",".join(str(value) for value in sorted(draw.sample(range(low, high + 1), 3)))
    begin = draw.randint(low, high - 1)
    step = f"/{draw.randint(1, 5)}" if draw.random() < 0.4 else ""
    return f"{begin}-{draw.randint(begin + 1, high)}{step}"


def expression_of(draw: random.Random) -> str:
    hour = field(draw, 0, 4) if draw.random() < 0.6 else field(draw, 0, 23)
    return f"{field(draw, 0, 59)} {hour} {field(draw, 1, 28)} * {field(draw, 0, 6)}"


def test_random_expressions_around_changes_of_the_clock() -> None:
    seed = 20261123
    draw = random.Random(seed)
    fired = 0
    for number in range(ROUNDS):
        timezone = draw.choice(WHOLE_HOURS + WAYS_OF_THEIR_OWN)
        change = draw.choice(changes(timezone, draw.randint(2007, 2035)))
        after = change - timedelta(minutes=draw.randint(0, 900))
        until = change + timedelta(minutes=draw.randint(60, 1200))
        expression = expression_of(draw)
        ours = list(occurrences(expression, timezone, after, until))
        exact = parse(expression).is_fixed_time or timezone in WHOLE_HOURS
        theirs = (cronsims if exact else every_minute)(expression, timezone, after, until)
        case = f"seed {seed}, round {number}: {expression!r} in {timezone}, {after} to {until}"
        assert ours == theirs, case
        # Walking by next_occurrence is the same walk; a hundred steps of each are enough to say so.
        walked: list[datetime] = []
        at = next_occurrence(expression, timezone, after)
        while at is not None and at <= until and len(walked) < 100:
            walked.append(at)
            at = next_occurrence(expression, timezone, at)
        assert walked == ours[:100], case
        fired += len(ours)
    assert fired > 3_000, "the draw has become too thin to mean anything"


def test_wrap_around_ranges_are_two_plain_ones() -> None:
    """The oracle refuses 22-6, so it is asked for what that means."""
    after, until = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    for wrapped, plain in (
        ("0 22-6 * * *", "0 0-6,22-23 * * *"),
        ("*/20 22-6 * * FRI-MON", "*/20 0-6,22-23 * * 0,1,5,6"),
        ("50-10/5 3 * * *", "0,5,10,50,55 3 * * *"),
        ("0 12 28-2 * *", "0 12 1,2,28-31 * *"),
    ):
        ours = list(occurrences(wrapped, "Europe/Berlin", after, until))
        assert ours == cronsims(plain, "Europe/Berlin", after, until) != []


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 13 * 5",
        "0 0 */2 * 1",
        "0 0 1 * */2",
        "0 0 1-31 * 1",
        "0 0 1 * 0-6",
        "0 0 *,3 * 1",
        "0 0 3,* * 1",  # the star is not at the start: OR, so every day; croniter alone reads this as AND
        "0 0 31 2 1",
        "0 0 29 2 *",
    ],
)
def test_the_rule_of_days_is_the_oracles(expression: str) -> None:
    after, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2032, 12, 31, tzinfo=UTC)
    ours = list(islice(occurrences(expression, "UTC", after, until), 40))
    assert ours == cronsims(expression, "UTC", after, until)[:40] != []
