"""Executions: one for every fire, however it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from pydantic import AfterValidator, ConfigDict
from pydantic.config import JsonDict

from libs.contracts import ExecutionStatus, Instant, Kind
from services.api.core.lateness import late_seconds, lateness
from services.api.core.report import report_of
from services.api.shapes.base import Page, Shape

_ID = "0199f3a2-1c00-8000-8000-000000000001"
_EXAMPLE: JsonDict = {
    "id": _ID,
    "deployment_id": "0199f39e-0000-7000-8000-000000000001",
    "deployment_name": "health_143052",
    "host_name": "lab-1",
    "device_id": "stb-1",
    "script_name": "health.py",
    "parameters": "--limit 2",
    "userinterface_name": "demo",
    "team_id": "0199f39d-0000-7000-8000-000000000001",
    "kind": "cron",
    "scheduled_at": "2026-11-23T10:20:00Z",
    "queued_at": None,
    "queue_position": None,
    "started_at": "2026-11-23T10:20:00.040000Z",
    "completed_at": "2026-11-23T10:20:05.250000Z",
    "status": "failed",
    "reason": "exit_code",
    "message": "Ended with exit code 1",
    "presumed": False,
    "success": False,
    "exit_code": 1,
    "signal": None,
    "duration_seconds": 5.21,
    "late_seconds": 0.04,
    "lateness": {"claim": 0.01, "publish": 0.005, "queue": 0.005, "admission": 0.005, "wait": 0.0, "spawn": 0.015},
    "script_result_id": None,
    "log_bytes": 81233,
    "log_url": f"/api/v1/executions/{_ID}/log",
    "log_removed": False,
    "report_url": f"/api/v1/executions/{_ID}/report",
    "artifacts_removed": False,
    "artifacts": [{"name": "junit.xml", "size": 812, "url": f"/api/v1/executions/{_ID}/artifacts/junit.xml"}],
    "junit": {"tests": 12, "failures": 1, "errors": 0, "skipped": 0},
    "cancel_requested_at": None,
    "triggered_by": None,
}


# What a monotonic clock gives has digits that mean nothing.
_ToTheMillisecond = Annotated[float, AfterValidator(lambda seconds: round(seconds, 3))]


class Lateness(Shape):
    """Where the time between the nominal moment and the start went, in seconds of database time."""

    claim: float | None
    publish: float | None
    queue: float | None
    admission: float | None
    wait: float | None
    spawn: float | None


class Artifact(Shape):
    """A file that a script left behind; its size in bytes."""

    name: str
    size: int
    url: str

    @classmethod
    def of(cls, execution_id: UUID, record: Mapping[str, Any]) -> Artifact:
        """From `name` and `size`."""
        return cls(name=record["name"], size=record["size"], url=artifact_url(execution_id, record["name"]))


class Artifacts(Page[Artifact]):
    """All of an execution, by name; there is no next page."""


class JUnit(Shape):
    """The sums of all JUnit reports of an execution."""

    tests: int
    failures: int
    errors: int
    skipped: int

    @classmethod
    def of(cls, sums: Sequence[Mapping[str, int]]) -> JUnit | None:
        """The sum of some; None of none."""
        return cls(**{name: sum(one[name] for one in sums) for name in cls.model_fields}) if sums else None


def artifact_url(execution_id: UUID, name: str) -> str:
    """Where the file is had."""
    return f"/api/v1/executions/{execution_id}/artifacts/{quote(name)}"


def report_url(execution_id: UUID) -> str:
    """Where its report is had, if it has one."""
    return f"/api/v1/executions/{execution_id}/report"


class Execution(Shape):
    """What became of one fire. Times in UTC, durations in seconds.

    `log_removed`, `artifacts_removed`: they are older than what is kept, and their urls are null.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    deployment_id: UUID
    deployment_name: str
    host_name: str
    device_id: str
    script_name: str
    parameters: str | None
    userinterface_name: str
    team_id: UUID
    kind: Kind
    scheduled_at: Instant
    queued_at: Instant | None
    queue_position: int | None
    started_at: Instant | None
    completed_at: Instant | None
    status: ExecutionStatus
    reason: str | None
    message: str | None
    presumed: bool
    success: bool | None
    exit_code: int | None
    signal: str | None
    duration_seconds: _ToTheMillisecond | None
    late_seconds: float | None
    lateness: Lateness
    script_result_id: UUID | None
    log_bytes: int
    log_url: str | None
    log_removed: bool
    report_url: str | None
    artifacts_removed: bool
    artifacts: list[Artifact]
    junit: JUnit | None
    cancel_requested_at: Instant | None
    triggered_by: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Execution:
        """The shape of a row of `deployment_executions` with its deployment's name, its queue position and its `files`
        (name, size and junit of each artifact).
        """
        files: Sequence[Mapping[str, Any]] = () if record["artifacts_removed"] else record["files"] or ()
        has_report = report_of(file["name"] for file in files) is not None
        return cls(
            **record,
            message=record["skip_reason"] if record["status"] == ExecutionStatus.SKIPPED else record["error_message"],
            late_seconds=late_seconds(
                scheduled_at=record["scheduled_at"],
                received_at=record["received_at"],
                started_at=record["started_at"],
            ),
            lateness=Lateness(
                **lateness(
                    scheduled_at=record["scheduled_at"],
                    decided_at=record["decided_at"],
                    published_at=record["published_at"],
                    received_at=record["received_at"],
                    queued_at=record["queued_at"],
                    admitted_at=record["admitted_at"],
                    started_at=record["started_at"],
                )
            ),
            log_url=None if record["log_removed"] else f"/api/v1/executions/{record['id']}/log",
            report_url=report_url(record["id"]) if has_report else None,
            artifacts=[Artifact.of(record["id"], file) for file in files],
            junit=JUnit.of([file["junit"] for file in files if file["junit"] is not None]),
        )
