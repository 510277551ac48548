"""What is kept, and how long; what was removed, or would be."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from libs.contracts import Instant
from services.api.shapes.base import Body, Shape


class KeptKind(StrEnum):
    """What there is a policy for."""

    EXECUTIONS = "executions"
    VERSIONS = "versions"
    LOGS = "logs"
    ARTIFACTS = "artifacts"
    AUDIT = "audit"
    TOKENS = "tokens"
    DEAD_LETTERS = "dead_letters"


FILES = frozenset({KeptKind.LOGS, KeptKind.ARTIFACTS})
"""The kinds that lie in the object store, and have a size."""

_POLICY: JsonDict = {
    "kind": "logs",
    "keep_days": 90,
    "least_days": 1,
    "kept_from": "2026-08-25T00:00:00Z",
    "changed_at": None,
    "changed_by": None,
}
_RUN: JsonDict = {
    "id": 12,
    "started_at": "2026-11-23T10:30:00Z",
    "ended_at": "2026-11-23T10:30:02Z",
    "broke_off": False,
    "asked_by": None,
    "removed": [{"kind": "logs", "count": 1440, "bytes": 73400320}],
}


class RetentionPolicy(Shape):
    """One kind. `keep_days` null: for ever; never less than `least_days`. `kept_from`: what is older is gone."""

    kind: KeptKind
    keep_days: int | None
    least_days: int
    kept_from: Instant | None
    changed_at: Instant | None
    changed_by: str | None


class RetentionChange(Body):
    """How long one kind is to be kept."""

    keep_days: Annotated[int, Field(strict=True, ge=1, le=36_500)] | None = Field(
        description="whole days of UTC; null: for ever"
    )


class Removed(Shape):
    """How many of one kind; the size of files in bytes."""

    kind: KeptKind
    count: int
    bytes: int | None

    @classmethod
    def of(cls, kind: str, record: Mapping[str, int]) -> Removed:
        """From the counts of a run."""
        named = KeptKind(kind)
        return cls(kind=named, count=record["count"], bytes=record["bytes"] if named in FILES else None)


class RetentionRun(Shape):
    """What one run removed. `ended_at` null: it goes on. `asked_by` null: it was its time."""

    id: int
    started_at: Instant
    ended_at: Instant | None
    broke_off: bool
    asked_by: str | None
    removed: list[Removed]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RetentionRun:
        """From a row of `retention_runs`."""
        removed = [Removed.of(kind, counts) for kind, counts in sorted(record["removed"].items())]
        return cls(**{**record, "removed": removed})


class Retention(Shape):
    """The policies, when the next run begins, and the latest runs, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"policies": [_POLICY], "next_run_at": "2026-11-24T10:30:00Z", "asked_by": None, "runs": [_RUN]}
            ]
        }
    )

    policies: list[RetentionPolicy]
    next_run_at: Instant
    asked_by: str | None
    runs: list[RetentionRun]


class PlannedRemoval(Shape):
    """What of one kind a run would remove now. `is_more`: it was not counted to the end."""

    kind: KeptKind
    kept_from: Instant | None
    count: int
    bytes: int | None
    oldest: Instant | None
    is_more: bool


class RetentionPlan(Shape):
    """What a run would remove if it began now; nothing is changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "kind": "logs",
                            "kept_from": "2026-08-25T00:00:00Z",
                            "count": 1440,
                            "bytes": 73400320,
                            "oldest": "2026-08-24T00:00:00Z",
                            "is_more": False,
                        }
                    ]
                }
            ]
        }
    )

    items: list[PlannedRemoval]
