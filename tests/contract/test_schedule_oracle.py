"""Random expressions around every change of the clock, against two oracles that share no code with the product.

The first is cronsim, Debian's rule by another author. Where it is known to differ, and why, is told by
`known_difference`; there a walk through every minute of real time decides, and it decides with us.

150 expressions of a new seed in each run, which is printed; `make test-cron` draws thousands.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim

from libs.schedule import next_occurrence, occurrences, parse, zone
from libs.schedule.zones import offset_at, segment_end

YEARS = range(2016, 2026)
ZONES = (
    # Whole hours at night, as most have it; Dublin's winter is the exception by law, Troll jumps by two hours.
    *("Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/Los_Angeles", "Australia/Sydney"),
    *("Antarctica/Troll", "America/St_Johns", "Pacific/Auckland"),
    # Half an hour, and a change at 02:45.
    *("Australia/Lord_Howe", "Pacific/Chatham"),
    # Midnight is skipped.
    *("Asia/Beirut", "America/Havana", "America/Santiago", "Asia/Gaza"),
    # Twice a year and twice more for Ramadan.
    "Africa/Casablanca",
    # Abolished in these years: 2016, 2019, 2022, 2022, 2022, 2022, 2024; invented again: 2023.
    *("Europe/Istanbul", "America/Sao_Paulo", "America/Mexico_City", "Asia/Tehran", "Asia/Amman", "Asia/Damascus"),
    *("America/Asuncion", "Africa/Cairo"),
    # Another standard time, by half an hour or more, some there and back.
    *("Asia/Pyongyang", "America/Caracas", "Europe/Volgograd", "Pacific/Norfolk", "Africa/Sao_Tome", "Africa/Juba"),
)
CHANGES_EACH = 4  # so many changes of the clock does each expression meet at least
MOST_HOURS = 1_000_000
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


class _EndlessError(Exception):
    """cronsim looks for an hour that it never comes to."""


class _Bounded(CronSim):
    """Rolls forward by so many hours at most: a hundred times what a year has."""

    rolled = 0

    def advance_hour(self) -> bool:
        """As cronsim does."""
        self.rolled += 1
        if self.rolled > MOST_HOURS:
            raise _EndlessError
        return super().advance_hour()


def cronsims(expression: str, timezone: str, after: datetime, until: datetime) -> list[datetime] | None:
    """What cronsim fires; where it walks in circles, what it fired until then, and None when it never comes back."""
    try:
        return _fired(expression, timezone, after, until)
    except _EndlessError:
        return None


def _fired(expression: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    for fire in _Bounded(expression, after.astimezone(zone(timezone))):
        at = fire.astimezone(UTC)
        if at <= after:  # begun in the second pass of a repeated hour, it tells of the first one, too
            continue
        if at > until or (found and at <= found[-1]):
            break
        found.append(at)
    return found


def changes() -> list[tuple[str, datetime]]:
    """Every change of the clock in all zones and years."""
    found = []
    for timezone in ZONES:
        at, end = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[-1] + 1, 1, 1, tzinfo=UTC)
        while (at := segment_end(timezone, at)) < end:
            if offset_at(zone(timezone), at - timedelta(seconds=1)) != offset_at(zone(timezone), at):
                found.append((timezone, at))
    return found


def known_difference(expression: str, timezone: str, change: datetime) -> str | None:
    """Why cronsim may differ here, or None. It never may for jobs of fixed time."""
    if parse(expression).is_fixed_time:
        return None
    before, after = (offset_at(zone(timezone), at) for at in (change - timedelta(seconds=1), change))
    wall = change.replace(tzinfo=None) + before
    if wall.minute or (after - before) % timedelta(hours=1):
        return "it takes for granted that clocks change at a full hour and by full hours"
    if wall.hour == 0 and after > before:
        return "it begins each new day at 00:00, and this one has none"
    return None


def field(draw: random.Random, low: int, high: int, *, star: float) -> str:
    """`star` is how likely it starts with one, which makes a job follow real time."""
    shape = draw.random()
    if shape < star:
        return "*" if draw.random() < 0.6 else f"*/{draw.randint(1, (high - low) // 2)}"
    if shape < star + (1 - star) / 4:
        return str(draw.randint(low, high))
    if shape < star + (1 - star) * 2 / 3:
        return ",".join(str(value) for value in sorted(draw.sample(range(low, high + 1), 3)))
    begin = draw.randint(low, high - 1)
    step = f"/{draw.randint(1, 5)}" if draw.random() < 0.4 else ""
    return f"{begin}-{draw.randint(begin + 1, high)}{step}"


def expression_of(draw: random.Random) -> str:
    """Half of them fixed-time jobs, most in the hours in which clocks change, on any day or on some."""
    star = 0.0 if draw.random() < 0.4 else 0.4
    minute, hour = field(draw, 0, 59, star=star), field(draw, 0, 4 if draw.random() < 0.7 else 23, star=star)
    return f"{minute} {hour} {field(draw, 1, 28, star=0.8)} * {field(draw, 0, 6, star=0.8)}"


@pytest.mark.timeout(400)  # it computes for a minute, on a core that it may have to share
def test_random_expressions_around_every_change_of_the_clock(seed: int, request: pytest.FixtureRequest) -> None:
    draw = random.Random(seed)
    expressions = [expression_of(draw) for _ in range(request.config.getoption("--cron-expressions"))]
    everywhere = changes()
    draw.shuffle(everywhere)
    fired, differences = 0, Counter[str | None]()
    for number in range(max(len(everywhere), CHANGES_EACH * len(expressions))):
        expression, (timezone, change) = expressions[number % len(expressions)], everywhere[number % len(everywhere)]
        after = change - timedelta(minutes=draw.randint(0, 360))
        until = change + timedelta(minutes=draw.randint(60, 600))
        case = f"--seed {seed}, check {number}: {expression!r} in {timezone}, {after} to {until}"
        ours = list(occurrences(expression, timezone, after, until))
        if not parse(expression).is_fixed_time:
            assert ours == every_minute(expression, timezone, after, until), case
        theirs = cronsims(expression, timezone, after, until)
        if ours != theirs:
            why = "it never ends" if theirs is None else known_difference(expression, timezone, change)
            assert why, case
            differences[why] += 1
        if number % 5 == 0:  # walking by next_occurrence is the same walk
            assert list(islice(walk(expression, timezone, after, until), 50)) == ours[:50], case
        fired += len(ours)
    assert fired > 3_000, "the draw has become too thin to mean anything"
    assert differences.total() < len(everywhere) / 5 * (1 + len(expressions) / 150), "known ones are rare"


def walk(expression: str, timezone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    at = next_occurrence(expression, timezone, after)
    while at is not None and at <= until:
        yield at
        at = next_occurrence(expression, timezone, at)


def test_the_zones_are_those_that_are_hard() -> None:
    found = Counter(timezone for timezone, _ in changes())
    assert found.keys() == set(ZONES)
    assert len(found) >= 20
    assert found["Africa/Casablanca"] > 20
    assert found["Africa/Cairo"] == 6, "invented again in 2023"
    assert found["Europe/Istanbul"] == 1, "abolished in 2016"


@pytest.mark.parametrize(
    ("expression", "timezone", "change"),
    [
        ("32 * * * *", "Australia/Lord_Howe", "2020-04-04 15:00"),
        ("* 0,1,3 * * *", "Pacific/Chatham", "2021-09-25 14:00"),
        ("*/17 1,3,4 28 * *", "Africa/Cairo", "2023-04-27 22:00"),
    ],
)
def test_the_known_differences_are_still_cronsims(expression: str, timezone: str, change: str) -> None:
    """When cronsim mends one of them, its excuse goes, too."""
    at = datetime.fromisoformat(change).replace(tzinfo=UTC)
    span = (at - timedelta(hours=3), at + timedelta(hours=5))
    assert known_difference(expression, timezone, at)
    assert list(occurrences(expression, timezone, *span)) == every_minute(expression, timezone, *span)
    assert cronsims(expression, timezone, *span) != every_minute(expression, timezone, *span)


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
    assert ours == _fired(expression, "UTC", after, until)[:40] != []
