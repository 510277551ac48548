"""What becomes of a deployment by an edit or a transition: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from libs.contracts import DEPLOYMENT_TRANSITIONS, DeploymentStatus
from libs.schedule import due_at, first_fire

_INSTANT = timedelta(microseconds=1)

LIMIT_SENTENCE = "The limit of executions was reached"


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that cannot be, by its field."""

    field: str
    message: str
    hint: str


def may_become(status: DeploymentStatus, wanted: DeploymentStatus) -> bool:
    """Whether a person may bring it there."""
    return wanted in DEPLOYMENT_TRANSITIONS[status]


def date_faults(
    start: datetime | None, end: datetime | None, now: datetime, *, end_is_new: bool = True
) -> tuple[Fault, ...]:
    """The end lies after the start, and in the future if it was just written."""
    if end is None:
        return ()
    if start is not None and end <= start:
        return (Fault("end_date", "The end is not after the start", "Choose a later end or an earlier start."),)
    if end_is_new and end <= now:
        return (Fault("end_date", "The end has already passed", "Choose an end in the future."),)
    return ()


def lowers_limit(before: int | None, after: int | None) -> bool:
    """Whether fewer executions are allowed than were."""
    return after is not None and (before is None or after < before)


def next_of(values: Mapping[str, Any], *, after: datetime, inclusive: bool = False) -> dict[str, Any]:
    """`next_fire_at` and `next_due_at` of an active deployment whose fires before `after` are decided."""
    from_at = after if inclusive else after + _INSTANT
    upcoming = first_fire(
        values["cron_expression"],
        values["timezone"],
        values["start_date"],
        values["end_date"],
        max(values["counted_from"], from_at),
    )
    return {"next_fire_at": upcoming, "next_due_at": due_at(upcoming, values["end_date"])}


def paused(row: Mapping[str, Any], by: str, reason: str | None) -> dict[str, Any]:
    """No fire is next; it still expires at its end date."""
    return _standing(DeploymentStatus.PAUSED, by, reason) | {"next_due_at": row["end_date"]}


def stopped(by: str, reason: str | None) -> dict[str, Any]:
    """For good."""
    return _standing(DeploymentStatus.STOPPED, by, reason)


def resumed(row: Mapping[str, Any], by: str, now: datetime) -> dict[str, Any]:
    """Counted anew from `now`: what fell into the pause is not missed."""
    values: dict[str, Any] = {
        "status": DeploymentStatus.ACTIVE,
        "status_reason": None,
        "status_by": by,
        "counted_from": now,
    }
    return values | next_of({**row, **values}, after=now, inclusive=True)


def deleted(row: Mapping[str, Any], by: str, reason: str | None, now: datetime) -> dict[str, Any]:
    """Stopped, if it was not over, and out of the lists; its name is free."""
    if DEPLOYMENT_TRANSITIONS[DeploymentStatus(row["status"])]:
        return stopped(by, reason) | {"deleted_at": now}
    return {"deleted_at": now, "status_by": by, "next_fire_at": None, "next_due_at": None}


def edited(row: Mapping[str, Any], given: Mapping[str, Any], by: str, now: datetime) -> dict[str, Any]:
    """The values that an edit changes; empty when it changes nothing.

    A limit that is reached already completes the deployment.
    """
    values = {name: value for name, value in given.items() if value != row[name]}
    if not values:
        return {}
    values["status_by"] = by
    merged = {**row, **values}
    if merged["max_executions"] is not None and merged["execution_count"] >= merged["max_executions"]:
        return values | _standing(DeploymentStatus.COMPLETED, by, LIMIT_SENTENCE)
    if row["status"] == DeploymentStatus.ACTIVE:
        values |= next_of(merged, after=now)
    if row["status"] == DeploymentStatus.PAUSED:
        values["next_due_at"] = merged["end_date"]
    return values


def _standing(status: DeploymentStatus, by: str, reason: str | None) -> dict[str, Any]:
    return {
        "status": status,
        "status_reason": reason,
        "status_by": by,
        "next_fire_at": None,
        "next_due_at": None,
    }
