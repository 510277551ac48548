"""`rigbeat next`: when an expression fires, by the scheduler's own rules. Needs no running system."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any

import typer

from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column
from libs.contracts import rfc3339
from libs.schedule import CronError, describe, occurrences, resolve_hash, zone
from libs.schedule.clock_changes import clock_changes

_AHEAD = timedelta(days=366 * 50)
_MOST = 200
# What only the API can say, of deployments on the same devices.
_ONLY_WITH_TARGETS = {"runs_per_day": None, "conflicts": None}


@command
def next_fires(
    run: Run,
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="Five fields, such as '*/10 * * * *'.")],
    tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="Such as Europe/Berlin.")] = "UTC",
    count: Annotated[int, typer.Option("--count", min=1, max=_MOST, help="How many.")] = 5,
) -> None:
    """Say in words when an expression fires, and the next times. Exit code 1 when it is not valid."""
    preview = preview_of(expression, tz, count, datetime.fromtimestamp(time.time(), UTC))
    if run.out.as_json:
        run.out.fields(preview)
    if not preview["valid"]:
        error = preview["error"]
        hint = f" {error['hint']}" if error["hint"] else ""
        raise CliError(ExitCode.NO, f"{error['message']}.{hint}")
    if run.out.as_json:
        return
    run.out.note(f"{preview['description']} ({tz})")
    local = Column(f"local ({tz})", lambda row: _local(row, tz))
    run.out.many([{"next": at} for at in preview["next"]], (Column("next"), local))
    for note in preview["notes"]:
        run.out.note(note)


def preview_of(expression: str, tz: str, count: int, now: datetime) -> dict[str, Any]:
    """The cron preview of the API (its shape and words), at `now`. `H` is resolved as for no name."""
    try:
        resolved = resolve_hash(expression, "")
        zone(tz)
    except CronError as error:
        said = {"field": error.field, "message": error.message, "hint": error.hint or None}
        return {"valid": False, "error": said, "description": None, "next": [], "notes": []} | _ONLY_WITH_TARGETS
    fires = list(islice(occurrences(resolved, tz, now - timedelta(microseconds=1), now + _AHEAD), count))
    notes = clock_changes(resolved, tz, now, fires)
    if resolved != " ".join(expression.upper().split()):
        notes.insert(0, f"H is spread by the deployment's name; here it is {resolved}")
    return {
        "valid": True,
        "error": None,
        "description": describe(resolved, tz),
        "next": [rfc3339(at) for at in fires],
        "notes": notes,
    } | _ONLY_WITH_TARGETS


def _local(row: Mapping[str, Any], tz: str) -> str:
    return f"{datetime.fromisoformat(row['next']).astimezone(zone(tz)):%a %Y-%m-%d %H:%M %z}"
