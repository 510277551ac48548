"""`/server/*`, in the words of the system that was there before Rigbeat. Pure.

Its pages and scripts know five statuses of an execution, send empty texts for what is not set, write times without a
zone and mean UTC, and read one sentence of a refusal. Everything else is as in `/api/v1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from libs.contracts import SENTENCES, ExecutionStatus, Reason
from services.api.core.edit import Fault

PREFIX = "/server"

KNOWN_STATUSES = {
    ExecutionStatus.TRIGGERED: ExecutionStatus.QUEUED,
    ExecutionStatus.CANCELLED: ExecutionStatus.FAILED,
}
"""What stands for a status that these clients do not know."""

_MAY_BE_EMPTY = ("parameters", "start_date", "end_date", "max_executions")
_TIMES = ("start_date", "end_date")
_DIGITS = re.compile(r"[0-9]{1,10}")
_COPY = "Make another deployment there, and delete this one."
_FIXED = {
    "host_name": _COPY,
    "device_id": _COPY,
    "script_name": _COPY,
    "status": "The status is changed by /server/deployment/pause and /resume.",
}


def is_theirs(path: str) -> bool:
    """Whether a request to this path is answered in their words."""
    return path.startswith(f"{PREFIX}/")


def one_text(detail: str, wrong: Sequence[tuple[str, str, str | None]]) -> str:
    """A refusal as the one text that is shown; `wrong`: field, what is wrong, and what would be right, if known."""
    if not wrong:
        return detail
    return "; ".join(f"{field}: {message}{f' ({hint})' if hint else ''}" for field, message, hint in wrong)


def as_known(record: Mapping[str, Any]) -> dict[str, Any]:
    """Status, success and sentences of an execution's row, such that a page reads them right.

    A cancelled one is a failed one that says why; it is over, so it has not succeeded.
    """
    status = ExecutionStatus(record["status"])
    success, reason, told = record["success"], record["reason"], record["error_message"]
    if status is ExecutionStatus.CANCELLED:
        reason = reason or Reason.CANCELLED_BY_USER
    if status in {ExecutionStatus.FAILED, ExecutionStatus.CANCELLED}:
        success = False if success is None else success
        told = told or (SENTENCES[Reason(reason)] if reason else None)
    return {
        "status": KNOWN_STATUSES.get(status, status),
        "success": success,
        "skip_reason": record["skip_reason"],
        "error_message": told,
    }


def as_meant(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as `/api/v1` would have it: null for an empty text and for no limit (0), UTC for a time without a zone.

    What is nonsense stays as it is, and is refused later like everybody's.
    """
    meant = dict(body)
    for field in _MAY_BE_EMPTY:
        if isinstance(meant.get(field), str) and not meant[field].strip():
            meant[field] = None
    for field in _TIMES:
        if isinstance(meant.get(field), str):
            meant[field] = _in_utc(meant[field])
    if "max_executions" in meant:
        meant["max_executions"] = _limit(meant["max_executions"])
    return meant


def without_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    """For something new, where null says no more than leaving it out."""
    return {field: value for field, value in body.items() if value is not None}


def faults_of_edit(given: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Fault]:
    """What an edit would change that no edit changes; the same value as before is none."""
    for field, hint in _FIXED.items():
        if field in given and given[field] is not None and given[field] != now[field]:
            yield Fault(field, f"It is {now[field]} and cannot be edited", hint)


def _in_utc(text: str) -> str:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    return text if at.tzinfo is not None else at.replace(tzinfo=UTC).isoformat()


def _limit(value: Any) -> Any:
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value)
    return None if value == 0 and isinstance(value, int) and not isinstance(value, bool) else value
