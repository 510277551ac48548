"""Time zones by their IANA names, and the moments at which their offset changes.

The data come from the pinned `tzdata` distribution and never from the machine, so that all replicas agree on when
summer time begins.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from libs.schedule.errors import CronError

_LONGEST_NAME = 64
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


@cache
def names() -> frozenset[str]:
    """Every name that `zone` takes."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@cache  # bounded by the names there are: an unknown one is not kept
def zone(name: str) -> ZoneInfo:
    """The time zone of this name (IANA, exact case). Raises `CronError(field="timezone")` when there is none."""
    if name not in names():
        raise CronError("timezone", f"{_shown(name)} is not a known time zone", _hint(name))
    package, _, leaf = f"zoneinfo/{name}".rpartition("/")
    with resources.files("tzdata").joinpath(package).joinpath(leaf).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def _shown(name: str) -> str:
    short = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    return (short if short.isprintable() else ascii(short)) or "An empty name"


def _hint(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        by_lower = {known.lower(): known for known in names()}
        close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
        if close:
            return f"Did you mean {by_lower[close[0]]}?"
    return "Write a name of the IANA database, such as Europe/Berlin or UTC."


def segment_end(name: str, instant: datetime) -> datetime:
    """An instant (UTC) after `instant` until which the zone's offset certainly stays as it is at `instant`.

    Either the moment of the next change or the end of the year, whatever comes first.
    """
    for change in _changes(name, instant.year):
        if change > instant:
            return change
    return datetime(instant.year + 1, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _changes(name: str, year: int) -> tuple[datetime, ...]:
    """The first instants (UTC) of every new offset within the year.

    Looks at each day's start: no zone has changed twice within one day.
    """
    tz = zone(name)
    found: list[datetime] = []
    day = datetime(year, 1, 1, tzinfo=UTC)
    end = datetime(year + 1, 1, 1, tzinfo=UTC)
    before = offset_at(tz, day)
    while day < end:
        after = offset_at(tz, day + _DAY)
        if after != before:
            found.append(_first_with_other_offset(tz, day, day + _DAY, before))
            before = after
        day += _DAY
    return tuple(found)


def _first_with_other_offset(tz: ZoneInfo, low: datetime, high: datetime, before: timedelta) -> datetime:
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if offset_at(tz, middle) == before:
            low = middle
        else:
            high = middle
    return high


def offset_at(tz: ZoneInfo, instant: datetime) -> timedelta:
    """The offset of local time from UTC in force at the instant."""
    local = instant.astimezone(tz)
    return local.replace(tzinfo=None) - instant.replace(tzinfo=None)


def first_pass(wall: datetime, tz: ZoneInfo) -> datetime:
    """The instant (UTC) at which clocks first show this naive local time.

    In a repeated hour that is the first of the two; a time that is skipped gives the first instant after the gap.
    """
    instant = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == wall:
        return instant
    # In a gap the two readings lie on either side of the change (PEP 495): look for it between them.
    low = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    high = instant
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if middle.astimezone(tz).replace(tzinfo=None) > wall:
            high = middle
        else:
            low = middle
    return high
