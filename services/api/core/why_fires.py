"""The nominal fires around a minute, by the scheduler's own rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from libs.schedule import next_occurrence, occurrences
from libs.schedule.clock_changes import clock_changes
from services.api.core.why_facts import Version

MOST_COUNTED = 2000
"""So many fires ahead are counted at most, to see whether a limit is used up by then."""

_INSTANT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366), timedelta(days=9 * 366))


@dataclass(frozen=True, slots=True)
class Fires:
    """The schedule around a minute: whether it fires there, and the nominal fires before and after it.

    Only the expression and its zone are asked, not the dates. `notes`: what daylight saving does to these fires.
    """

    here: bool
    before: datetime | None
    after: datetime | None
    notes: tuple[str, ...]


def around(version: Version, minute: datetime) -> Fires:
    """The fires of this version around the minute."""
    expression, timezone = version.cron_expression, version.timezone
    here = next_occurrence(expression, timezone, minute - _INSTANT) == minute
    before, after = _last_before(expression, timezone, minute), next_occurrence(expression, timezone, minute)
    shown = [at for at in (before, minute if here else None, after) if at is not None]
    notes = clock_changes(expression, timezone, shown[0], shown[1:]) if len(shown) > 1 else []
    return Fires(here, before, after, tuple(notes))


def count_between(version: Version, after: datetime, before: datetime, most: int) -> int:
    """How many fires lie strictly between two instants, within the deployment's dates; at most `most` are counted."""
    since = after if version.start_date is None else max(after, version.start_date - _INSTANT)
    until = before - _INSTANT if version.end_date is None else min(before, version.end_date) - _INSTANT
    fires = occurrences(version.cron_expression, version.timezone, since, until)
    return sum(1 for _ in islice(fires, min(most, MOST_COUNTED)))


def _last_before(expression: str, timezone: str, minute: datetime) -> datetime | None:
    """The newest fire before the minute, by halving: some twenty searches, however rare or frequent the fires are."""
    for back in _BACK:
        newest = next_occurrence(expression, timezone, minute - back - _INSTANT)
        if newest is None:
            return None
        if newest >= minute:
            continue
        empty_after = minute - _INSTANT
        while empty_after - newest >= _MINUTE:
            middle = newest + (empty_after - newest) / 2
            ahead = next_occurrence(expression, timezone, middle)
            if ahead is not None and ahead <= empty_after:
                newest = ahead
            else:
                empty_after = middle
        return newest
    return None
