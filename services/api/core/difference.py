"""What an edit changed: field by field for the audit, and in one line for the people at the host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.contracts import rfc3339

# What is said with its values, and how people call it; of the others only that they changed.
_SHOWN = {
    "name": "name",
    "cron_expression": "cron",
    "timezone": "zone",
    "start_date": "start",
    "end_date": "end",
    "max_executions": "limit",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after, as JSON has them."""

    field: str
    before: Any
    after: Any


def difference(before: Mapping[str, Any], after: Mapping[str, Any], fields: Iterable[str]) -> tuple[Change, ...]:
    """Those of `fields` that are not the same in both, in the order of their names."""
    return tuple(
        Change(field, _as_json(before[field]), _as_json(after[field]))
        for field in sorted(fields)
        if before[field] != after[field]
    )


def in_detail(changes: Iterable[Change]) -> dict[str, Any]:
    """For the audit: `{"cron_expression": {"before": …, "after": …}}`."""
    return {change.field: {"before": change.before, "after": change.after} for change in changes}


def in_words(changes: Iterable[Change]) -> str:
    """Such as `cron */5 * * * * -> */10 * * * *, limit none -> 20, parameters`."""
    return ", ".join(
        f"{_SHOWN[change.field]} {_text(change.before)} -> {_text(change.after)}"
        if change.field in _SHOWN
        else change.field
        for change in changes
    )


def _as_json(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
