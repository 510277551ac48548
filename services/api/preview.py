"""What a schedule means: words, the next fires, what daylight saving does to them, and who else is due there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from libs.schedule import CronError, describe, resolve_hash, zone
from libs.schedule.clock_changes import clock_changes
from services.api.core.conflicts import Busy, Conflict, Other, Schedule, alternative, conflicts, runs_per_day, would
from services.api.shapes.preview import Preview, PreviewConflict, PreviewError, PreviewRequest

MOST_CONFLICTS = 200

_INSTANT = timedelta(microseconds=1)
_FAR = timedelta(days=366 * 50)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the targets: who else fires there, how long the script usually takes, and what is odd."""

    others: Sequence[Other]
    usual_seconds: float | None
    notes: Sequence[str]


def preview(request: PreviewRequest, now: datetime, team: str, around: Surroundings | None = None) -> Preview:
    """The answer at `now`. `H` is resolved as it would be for a deployment of this team and name.

    `around` belongs to a request with targets.
    """
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
    schedule = Schedule(expression, request.timezone, begin, until)
    fires = schedule.fires(request.count)
    notes = clock_changes(expression, request.timezone, begin, fires)
    if expression != _plain(request.cron_expression):
        notes.insert(0, f"H is spread by the deployment's name; here it is {expression}")
    if not fires:
        notes.append("Nothing fires before the end")
    answer = Preview(
        valid=True, error=None, description=describe(expression, request.timezone), next=fires, notes=notes
    )
    return answer if around is None else _with(answer, request, schedule, around)


def _with(answer: Preview, request: PreviewRequest, schedule: Schedule, around: Surroundings) -> Preview:
    notes = [*answer.notes, *around.notes]
    found = conflicts(answer.next, Busy(around.others))
    if len(found) > MOST_CONFLICTS:
        notes.append(f"{len(found)} conflicts; the first {MOST_CONFLICTS} are listed")
        found = found[:MOST_CONFLICTS]
    shortest = min((after - before for before, after in pairwise(answer.next)), default=None)
    if around.usual_seconds is not None and shortest is not None and around.usual_seconds > shortest.total_seconds():
        notes.append(
            f"{request.script_name} usually takes {around.usual_seconds:.0f} s and this fires every "
            f"{shortest.total_seconds():.0f} s: one run waits, further ones are skipped"
        )
    instead = _alternatives(schedule, around.others, found)
    shown = [
        PreviewConflict(
            at=each.at,
            host_name=each.host_name,
            device_id=each.device_id,
            deployment=each.deployment,
            would=would(request.on_device_busy),
            alternative_cron=instead[each.host_name, each.device_id],
        )
        for each in found
    ]
    per_day = runs_per_day(schedule.cron_expression, schedule.begin.date())
    return answer.model_copy(update={"notes": notes, "runs_per_day": per_day, "conflicts": shown})


def _alternatives(
    schedule: Schedule, others: Iterable[Other], found: Sequence[Conflict]
) -> dict[tuple[str, str], str | None]:
    """One that is free on every device, for all of them; where there is none, each device its own."""
    devices = dict.fromkeys((each.host_name, each.device_id) for each in found)
    if not devices:
        return {}
    everywhere = alternative(schedule, Busy(others))
    if everywhere is not None or len(devices) == 1:
        return dict.fromkeys(devices, everywhere)
    return {
        device: alternative(schedule, Busy(each for each in others if (each.host_name, each.device_id) == device))
        for device in devices
    }


def _refused(error: PreviewError) -> Preview:
    return Preview(valid=False, error=error, description=None, next=[], notes=[])


def _plain(expression: str) -> str:
    return " ".join(expression.upper().split())
