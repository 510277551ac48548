"""When an expression fires: instants in UTC, with Debian's rule for daylight saving.

croniter only ever works on naive local time here, where it is exact; its own handling of zones differs from Debian's
(it runs fixed-time jobs twice in the repeated hour). The way from local time to UTC is ours:

- A *fixed-time* job (neither minute nor hour starts with `*`) runs once for each local time: in the repeated hour at
  the first pass, in the skipped hour right after it; several that are shifted onto one instant are one fire.
- Every other job follows real time, what clocks really show: a skipped hour has no fires, a repeated one has them
  twice.

Source: cron(8) of Debian, "Daylight Saving Time and other time changes".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from libs.schedule.cron import Cron, parse
from libs.schedule.fields import Field
from libs.schedule.zones import first_pass, offset_at, segment_end, zone

YEARS_AHEAD = 50

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# Room for a search of 50 years before the calendar of `datetime` ends.
_LATEST = datetime(9900, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_AHEAD = timedelta(days=366 * YEARS_AHEAD)


def occurrences(expression: str, timezone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every fire with `after` < fire <= `until`, in UTC, strictly increasing. Lazy.

    Fires lie between the years 1970 and 9900. Raises `CronError` at the call, not at the first step.
    """
    cron, tz = parse(expression), zone(timezone)
    after, until = max(after.astimezone(UTC), _EARLIEST), min(until.astimezone(UTC), _LATEST)
    if after >= until:
        return iter(())
    return _fixed_time(cron, tz, after, until) if cron.is_fixed_time else _real_time(cron, timezone, after, until)


def next_occurrence(expression: str, timezone: str, after: datetime) -> datetime | None:
    """The first fire strictly after `after`, in UTC; None if there is none within 50 years.

    Kept by (expression, zone, minute), so that many deployments of one expression cost one search.
    """
    after = max(after.astimezone(UTC), _EARLIEST)
    found = _next_after_minute(expression, timezone, after.replace(second=0, microsecond=0))
    if found is None or found > after:
        return found
    # Only where local time was not a whole minute away from UTC can a fire lie inside a minute.
    return next(occurrences(expression, timezone, after, after + _AHEAD), None)


@lru_cache(maxsize=8192)
def _next_after_minute(expression: str, timezone: str, minute: datetime) -> datetime | None:
    until = _LATEST if minute > _LATEST - _AHEAD else minute + _AHEAD
    return next(occurrences(expression, timezone, minute, until), None)


def _fixed_time(cron: Cron, tz: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    last = after
    for wall in _walls(cron, after.astimezone(tz).replace(tzinfo=None)):
        instant = first_pass(wall, tz)
        if instant > until:
            return
        if instant > last:  # not the second pass, and not shifted onto the same instant
            yield instant
            last = instant


def _real_time(cron: Cron, timezone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    tz = zone(timezone)
    begin = edge = after  # of a stretch of one offset; its fires lie strictly after the edge
    while begin <= until:
        end, offset = segment_end(timezone, begin), offset_at(tz, begin)
        for wall in _walls(cron, edge.replace(tzinfo=None) + offset):
            instant = wall.replace(tzinfo=UTC) - offset
            if instant >= end:
                break
            if instant > until:
                return
            yield instant
        begin, edge = end, end - _SECOND  # what falls on the change itself fires


def _walls(cron: Cron, after: datetime) -> Iterator[datetime]:
    """Every naive local time after `after` that matches; ends when 50 years have none."""
    engine = copy.copy(_engine(cron.expression))  # the copy has a position of its own and shares the parsed fields
    engine.set_current(after)
    while True:
        try:
            wall = engine.get_next(datetime)
        except CroniterBadDateError:
            return
        yield wall


@lru_cache(maxsize=4096)
def _engine(expression: str) -> croniter:
    """Croniter on plain values: what it makes of other signs, and of steps in wrap-around ranges, does not matter."""
    cron = parse(expression)
    minute, hour, day, month, weekday = cron.fields
    texts = [_plain(minute), _plain(hour), _plain(day), _plain(month), _plain(weekday)]
    if cron.is_every_day:
        texts[2] = texts[4] = "*"
    return croniter(
        " ".join(texts),
        datetime(2000, 1, 1),  # noqa: DTZ001 - naive local time on purpose
        day_or=not cron.days_intersect,
        max_years_between_matches=YEARS_AHEAD,
    )


def _plain(field: Field) -> str:
    return "*" if field.is_every else ",".join(map(str, field.values))
