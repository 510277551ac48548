"""Two ways in which a run ends."""

from __future__ import annotations

from datetime import datetime

from libs.contracts import ExecutionStatus, Reason
from services.host_runner.core.outcome import Outcome


def a_success(at: datetime) -> Outcome:
    """All was well; ten bytes of output."""
    return Outcome(ExecutionStatus.COMPLETED, at, success=True, exit_code=0, duration_seconds=1.0, log_bytes=10)


def a_failure(at: datetime) -> Outcome:
    """It ended with exit code 1."""
    return Outcome(
        ExecutionStatus.FAILED,
        at,
        reason=Reason.EXIT_CODE,
        message="Ended with exit code 1",
        success=False,
        exit_code=1,
        duration_seconds=1.0,
        log_bytes=10,
    )
