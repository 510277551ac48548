"""What a schedule means: words, the next fires, and what daylight saving does to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from libs.schedule import CronError, describe, occurrences, resolve_hash, zone
from libs.schedule.clock_changes import clock_changes
from services.api.shapes.preview import Preview, PreviewError, PreviewRequest

_INSTANT = timedelta(microseconds=1)
_FAR = timedelta(days=366 * 50)


def preview(request: PreviewRequest, now: datetime, team: str) -> Preview:
    """The answer at `now`. `H` is resolved as it would be for a deployment of this team and name."""
    try:
        expression = resolve_hash(request.cron_expression, f"{team}/{request.name or ''}")
        zone(request.timezone)
    except CronError as error:
        return _refused(PreviewError(field=error.field, message=error.message, hint=error.hint or None))
    begin = now if request.start_date is None else max(now, request.start_date)
    if request.end_date is not None and request.end_date <= begin:
        message = "The end is not after the start" if request.start_date else "The end has already passed"
        return _refused(PreviewError(field="end_date", message=message, hint="Choose a later end."))
    until = begin + _FAR if request.end_date is None else request.end_date - _INSTANT
    fires = list(islice(occurrences(expression, request.timezone, begin - _INSTANT, until), request.count))
    notes = clock_changes(expression, request.timezone, begin, fires)
    if expression != _plain(request.cron_expression):
        notes.insert(0, f"H is spread by the deployment's name; here it is {expression}")
    if not fires:
        notes.append("Nothing fires before the end")
    return Preview(valid=True, error=None, description=describe(expression, request.timezone), next=fires, notes=notes)


def _refused(error: PreviewError) -> Preview:
    return Preview(valid=False, error=error, description=None, next=[], notes=[])


def _plain(expression: str) -> str:
    return " ".join(expression.upper().split())
