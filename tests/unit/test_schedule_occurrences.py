"""When expressions fire: plain days, the hours that daylight saving takes and gives, and how little it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.schedule import CronError, next_occurrence, occurrences, zone
from libs.schedule.occurrences import _next_after_minute


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(expression: str, timezone: str, after: str, until: str) -> list[str]:
    """The fires as local times with their offset, as people read them on a clock."""
    found = list(occurrences(expression, timezone, at(after), at(until)))
    assert found == sorted(set(found))
    assert all(fire.tzinfo is UTC for fire in found)
    return [f"{fire.astimezone(zone(timezone)):%d %H:%M%z}" for fire in found]


def first(expression: str, after: str, count: int) -> list[str]:
    """The first fires in UTC, walked by `next_occurrence` as the scheduler does."""
    found: list[str] = []
    now: datetime | None = at(after)
    while now is not None and len(found) < count:
        now = next_occurrence(expression, "UTC", now)
        if now is not None:
            found.append(f"{now:%a %Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", ["Mon 2026-11-23 10:05", "Mon 2026-11-23 10:10"]),
        ("*/10 * * * *", ["Mon 2026-11-23 10:10", "Mon 2026-11-23 10:20"]),
        ("*/30 * * * *", ["Mon 2026-11-23 10:30", "Mon 2026-11-23 11:00"]),
        ("0 * * * *", ["Mon 2026-11-23 11:00", "Mon 2026-11-23 12:00"]),
        ("0 */2 * * *", ["Mon 2026-11-23 12:00", "Mon 2026-11-23 14:00"]),
        ("0 2 * * *", ["Tue 2026-11-24 02:00", "Wed 2026-11-25 02:00"]),
        ("0 10 * * *", ["Tue 2026-11-24 10:00", "Wed 2026-11-25 10:00"]),
        (
            "0 9 * * 1-5",
            ["Tue 2026-11-24 09:00", "Wed 2026-11-25 09:00", "Thu 2026-11-26 09:00", "Fri 2026-11-27 09:00"],
        ),
        ("0 9-17 * * 1-5", ["Mon 2026-11-23 11:00", "Mon 2026-11-23 12:00"]),
        ("0 0 * * 1", ["Mon 2026-11-30 00:00", "Mon 2026-12-07 00:00"]),
        ("*/15 * * * *", ["Mon 2026-11-23 10:15", "Mon 2026-11-23 10:30"]),
        ("0 8,14,20 * * *", ["Mon 2026-11-23 14:00", "Mon 2026-11-23 20:00", "Tue 2026-11-24 08:00"]),
        ("*/30 9-17 * * 1-5", ["Mon 2026-11-23 10:30", "Mon 2026-11-23 11:00"]),
        ("0 0 * * 0,6", ["Sat 2026-11-28 00:00", "Sun 2026-11-29 00:00", "Sat 2026-12-05 00:00"]),
        ("* * * * *", ["Mon 2026-11-23 10:01", "Mon 2026-11-23 10:02"]),
        ("0 22-6 * * *", ["Mon 2026-11-23 22:00", "Mon 2026-11-23 23:00", "Tue 2026-11-24 00:00"]),
        ("0 1 * * 1", ["Mon 2026-11-30 01:00", "Mon 2026-12-07 01:00"]),
        ("*/15 9-17 * * 1-5", ["Mon 2026-11-23 10:15", "Mon 2026-11-23 10:30"]),
        ("0 0 * * 7", ["Sun 2026-11-29 00:00", "Sun 2026-12-06 00:00"]),
        (
            "0 0 13 * 5",
            ["Fri 2026-11-27 00:00", "Fri 2026-12-04 00:00", "Fri 2026-12-11 00:00", "Sun 2026-12-13 00:00"],
        ),
        ("0 0 */2 * 1", ["Mon 2026-12-07 00:00", "Mon 2026-12-21 00:00", "Mon 2027-01-11 00:00"]),
        ("0 0 1-31 * 1", ["Tue 2026-11-24 00:00", "Wed 2026-11-25 00:00"]),
        ("0 0 31 2 1", ["Mon 2027-02-01 00:00", "Mon 2027-02-08 00:00"]),
        ("0 0 31 * *", ["Thu 2026-12-31 00:00", "Sun 2027-01-31 00:00", "Wed 2027-03-31 00:00"]),
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]),
        (
            "0 0 29 2 */7",
            ["Sun 2032-02-29 00:00", "Sun 2060-02-29 00:00", "Sun 2088-02-29 00:00", "Sun 2128-02-29 00:00"],
        ),
    ],
)
def test_next(expression: str, expected: list[str]) -> None:
    assert first(expression, "2026-11-23 10:00", len(expected)) == expected


SPRING = ("2026-03-28 22:30", "2026-03-29 03:30")  # Berlin: 02:00 +0100 becomes 03:00 +0200
AUTUMN = ("2026-10-24 22:30", "2026-10-25 03:30")  # Berlin: 03:00 +0200 becomes 02:00 +0100


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["29 03:00+0200"]),
        ("15,45 2 * * *", ["29 03:00+0200"]),
        ("15 2,3 * * *", ["29 03:00+0200", "29 03:15+0200"]),
        ("0 2,3 * * *", ["29 03:00+0200"]),
        ("0 0-23/2 * * *", ["29 00:00+0100", "29 03:00+0200", "29 04:00+0200"]),
        ("0 */2 * * *", ["29 00:00+0100", "29 04:00+0200"]),
        ("*/30 2 * * *", []),
        ("*/30 1-3 * * *", ["29 01:00+0100", "29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]),
        ("30 * * * *", ["29 00:30+0100", "29 01:30+0100", "29 03:30+0200", "29 04:30+0200", "29 05:30+0200"]),
    ],
)
def test_in_the_skipped_hour(expression: str, expected: list[str]) -> None:
    assert fires(expression, "Europe/Berlin", *SPRING) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["25 02:30+0200"]),
        ("0 2,3 * * *", ["25 02:00+0200", "25 03:00+0100"]),
        ("15,45 2 * * *", ["25 02:15+0200", "25 02:45+0200"]),
        ("*/30 2 * * *", ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"]),
        ("0 */2 * * *", ["25 02:00+0200", "25 02:00+0100", "25 04:00+0100"]),
        ("0 1-4 * * *", ["25 01:00+0200", "25 02:00+0200", "25 03:00+0100", "25 04:00+0100"]),
    ],
)
def test_in_the_repeated_hour(expression: str, expected: list[str]) -> None:
    assert fires(expression, "Europe/Berlin", *AUTUMN) == expected


@pytest.mark.parametrize(
    ("zone_name", "expression", "after", "until", "expected"),
    [
        # Half an hour: 02:00 +1030 becomes 02:30 +1100, and back.
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 14:00", "2026-10-03 17:00", ["04 02:30+1100"]),
        ("Australia/Lord_Howe", "*/20 2 * * *", "2026-10-03 14:00", "2026-10-03 16:00", ["04 02:40+1100"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04 13:00", "2026-04-04 17:00", ["05 01:45+1100"]),
        ("Australia/Lord_Howe", "*/45 * * * *", "2026-04-04 15:00", "2026-04-04 15:29", ["05 01:45+1030"]),
        # Midnight itself is skipped.
        ("Africa/Cairo", "0 0 * * *", "2026-04-23 12:00", "2026-04-24 12:00", ["24 01:00+0300"]),
        ("Africa/Cairo", "*/30 0 * * *", "2026-04-23 12:00", "2026-04-24 12:00", []),
        # Midnight is repeated, on the day before.
        ("Africa/Cairo", "30 23 * * *", "2026-10-29 12:00", "2026-10-30 12:00", ["29 23:30+0300"]),
        # A whole day that never was.
        ("Pacific/Apia", "0 10 * * *", "2011-12-30 00:00", "2011-12-31 12:00", ["31 00:00+1400", "31 10:00+1400"]),
        # A new offset without daylight saving: 23:30 +0830 becomes 00:00 +0900.
        ("Asia/Pyongyang", "45 23 * * *", "2018-05-03 16:00", "2018-05-05 16:00", ["05 00:00+0900", "05 23:45+0900"]),
    ],
)  # fmt: skip
def test_in_zones_with_ways_of_their_own(
    zone_name: str, expression: str, after: str, until: str, expected: list[str]
) -> None:
    assert fires(expression, zone_name, after, until) == expected


def test_after_is_excluded_and_until_included() -> None:
    assert fires("0 * * * *", "UTC", "2026-01-01 10:00", "2026-01-01 12:00") == ["01 11:00+0000", "01 12:00+0000"]
    assert fires("0 * * * *", "UTC", "2026-01-01 09:59:59.999999", "2026-01-01 10:00") == ["01 10:00+0000"]
    assert fires("0 * * * *", "UTC", "2026-01-01 10:00:30", "2026-01-01 10:59:59") == []
    assert fires("0 * * * *", "UTC", "2026-01-02 10:00", "2026-01-01 10:00") == []


def test_other_zones_of_the_arguments_mean_the_same_instants() -> None:
    berlin = zone("Europe/Berlin")
    after = datetime(2026, 6, 1, 12, 0, 30, tzinfo=berlin)
    assert next_occurrence("* * * * *", "UTC", after) == datetime(2026, 6, 1, 10, 1, tzinfo=UTC)
    assert list(occurrences("0 * * * *", "UTC", after, after + timedelta(hours=1))) == [at("2026-06-01 11:00")]


def test_a_fire_lies_strictly_after_even_where_an_offset_has_seconds() -> None:
    """Liberia was 44 minutes and 30 seconds behind until 1972, so its minutes began at :30."""
    before, fire = at("1971-06-01 10:00:15"), at("1971-06-01 10:00:30")
    assert next_occurrence("* * * * *", "Africa/Monrovia", before) == fire
    assert next_occurrence("* * * * *", "Africa/Monrovia", fire) == at("1971-06-01 10:01:30")


def test_the_ends_of_the_calendar_are_quiet() -> None:
    assert next_occurrence("0 0 29 2 */7", "Pacific/Apia", at("9899-12-31 00:00")) is None
    assert next_occurrence("* * * * *", "UTC", at("9999-12-31 23:59")) is None
    assert list(occurrences("* * * * *", "Asia/Tokyo", at("9899-12-31 23:58"), at("9999-12-31 00:00"))) == [
        at("9899-12-31 23:59"),
        at("9900-01-01 00:00"),
    ]
    assert next_occurrence("0 0 1 1 *", "America/New_York", datetime.min.replace(tzinfo=UTC)) == at("1970-01-01 05:00")


def test_refusals_come_at_the_call() -> None:
    with pytest.raises(CronError):
        occurrences("0 24 * * *", "UTC", at("2026-01-01 00:00"), at("2026-01-02 00:00"))
    with pytest.raises(CronError):
        next_occurrence("0 2 * * *", "Mars/Olympus", at("2026-01-01 00:00"))


def test_many_deployments_of_one_expression_cost_one_search() -> None:
    _next_after_minute.cache_clear()
    for microsecond in range(1000):
        next_occurrence("7 3 * * *", "Europe/Paris", at("2026-01-01 10:00:20").replace(microsecond=microsecond))
    info = _next_after_minute.cache_info()
    assert (info.misses, info.hits) == (1, 999)
