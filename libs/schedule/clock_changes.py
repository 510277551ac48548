"""What daylight saving does to shown fires, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.schedule.cron import parse, zone

_MOST_NOTES = 3


def clock_changes(expression: str, timezone: str, begin: datetime, fires: Sequence[datetime]) -> list[str]:
    """A sentence for each change of the clocks from `begin` to the last of `fires`, at most three.

    The rule in it is Debian's (`occurrences`). Raises `CronError` for an expression or a zone that is not valid.
    """
    tz = zone(timezone)
    rule = (
        "a time that is skipped runs right after, a repeated one once"
        if parse(expression).is_fixed_time
        else "this schedule follows real time through it"
    )
    notes: list[str] = []
    before = begin
    for fire in fires:
        old, new = before.astimezone(tz).utcoffset(), fire.astimezone(tz).utcoffset()
        if old is not None and new is not None and old != new and len(notes) < _MOST_NOTES:
            way = "forward" if new > old else "back"
            moment = f"{fire.astimezone(tz):%Y-%m-%d %H:%M}"
            notes.append(f"Daylight saving: the clocks of {timezone} go {way} before {moment}; {rule}")
        before = fire
    return notes
