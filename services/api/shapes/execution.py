"""Executions: one for every fire, however it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from libs.contracts import ExecutionStatus, Instant, Kind
from services.api.core.lateness import late_seconds, lateness
from services.api.shapes.base import Shape


class Lateness(Shape):
    """Where the time between the nominal moment and the start went, in seconds of database time."""

    claim: float | None
    publish: float | None
    queue: float | None
    admission: float | None
    wait: float | None
    spawn: float | None


class Artifact(Shape):
    """A file that a script left behind."""

    name: str
    size: int
    url: str


class JUnit(Shape):
    """The sums of a JUnit report."""

    tests: int
    failures: int
    errors: int
    skipped: int


class Execution(Shape):
    """What became of one fire. Times in UTC, durations in seconds."""

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
    duration_seconds: float | None
    late_seconds: float | None
    lateness: Lateness
    script_result_id: UUID | None
    log_bytes: int
    log_url: str
    report_url: str | None
    artifacts: list[Artifact]
    junit: JUnit | None
    cancel_requested_at: Instant | None
    triggered_by: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Execution:
        """The shape of a row of `deployment_executions` with its deployment's name and its queue position."""
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
            log_url=f"/api/v1/executions/{record['id']}/log",
            report_url=None,
            artifacts=[],
            junit=None,
        )
