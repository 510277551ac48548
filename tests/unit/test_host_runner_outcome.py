"""What an ending means: the whole outcome for each way to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import ExecutionStatus, Reason
from services.host_runner.core.ending import Cause, Ending, How
from services.host_runner.core.last_words import error_line
from services.host_runner.core.outcome import Limits, Outcome, judge, not_startable

BEGAN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ENDED = BEGAN + timedelta(seconds=5)
LIMITS = Limits(timeout_seconds=3600, silence_timeout_seconds=90.5)
NO_MEMORY = ": the run had used up the memory that the host lets it have"
COMPLETED, FAILED, CANCELLED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED


def ending(outcome: How = How.EXITED, **given: Any) -> Ending:
    usual: dict[str, Any] = {"started_at": BEGAN, "duration_seconds": 5.0, "output_bytes": 12}
    return Ending(outcome, ENDED, **(usual | given))


@pytest.mark.parametrize(
    ("given", "status", "reason", "message", "success"),
    [
        (ending(code=0), COMPLETED, None, None, True),
        (ending(code=0, success_marker=True), COMPLETED, None, None, True),
        (ending(code=3, success_marker=True), COMPLETED, None, None, True),
        (
            ending(How.SIGNALLED, signal="SIGXFSZ"),
            FAILED,
            Reason.SIGNALLED,
            "Ended by signal SIGXFSZ (a file became larger than the host lets it be)",
            False,
        ),
        (
            ending(How.SIGNALLED, signal="SIGKILL", memory_kills=1),
            FAILED,
            Reason.SIGNALLED,
            f"Ended by signal SIGKILL. The kernel killed one of its processes{NO_MEMORY}",
            False,
        ),
        (
            ending(code=0, memory_kills=3, forks_refused=7),
            COMPLETED,
            None,
            f"The kernel killed 3 of its processes{NO_MEMORY}. It wanted more processes than the host lets it have",
            True,
        ),
        (ending(code=3), FAILED, Reason.EXIT_CODE, "Ended with exit code 3", False),
        (ending(code=127), FAILED, Reason.EXIT_CODE, "Ended with exit code 127 (a command in it was not found)", False),
        (
            ending(code=126),
            FAILED,
            Reason.EXIT_CODE,
            "Ended with exit code 126 (a command in it cannot be executed)",
            False,
        ),
        (
            ending(code=0, dropped_bytes=7),
            COMPLETED,
            None,
            "Its output was capped: only the first 12 bytes are kept",
            True,
        ),
        (
            ending(code=3, dropped_bytes=7, leftovers=1),
            FAILED,
            Reason.EXIT_CODE,
            (
                "Ended with exit code 3. Its output was capped: only the first 12 bytes are kept. "
                "A process that it had left behind had to be ended"
            ),
            False,
        ),
        (ending(code=0, leftovers=2), COMPLETED, None, "2 processes that it had left behind had to be ended", True),
        (
            ending(code=0, success_marker=False),
            FAILED,
            Reason.SCRIPT_REPORTED_FAILURE,
            "The script reported SCRIPT_SUCCESS:false",
            False,
        ),
        (
            ending(code=1, success_marker=False),
            FAILED,
            Reason.SCRIPT_REPORTED_FAILURE,
            "The script reported SCRIPT_SUCCESS:false and ended with exit code 1",
            False,
        ),
        (
            ending(How.SIGNALLED, signal="SIGSEGV"),
            FAILED,
            Reason.SIGNALLED,
            "Ended by signal SIGSEGV (a segmentation fault)",
            False,
        ),
        (ending(How.SIGNALLED, signal="SIGUSR1"), FAILED, Reason.SIGNALLED, "Ended by signal SIGUSR1", False),
        (ending(How.SIGNALLED, signal="SIGSEGV", success_marker=True), COMPLETED, None, None, True),
        (
            ending(How.SIGNALLED, signal="SIGTERM", cause=Cause.TIMED_OUT, success_marker=True),
            FAILED,
            Reason.TIMED_OUT,
            "Stopped after 3600 s, its time limit",
            False,
        ),
        (
            ending(code=0, cause=Cause.SILENT),
            FAILED,
            Reason.SILENT,
            "Stopped because it printed nothing for 90.5 s",
            False,
        ),
        (
            ending(How.SIGNALLED, signal="SIGTERM", cause=Cause.CANCELLED),
            CANCELLED,
            Reason.CANCELLED_BY_USER,
            "It was cancelled",
            None,
        ),
        (
            ending(How.NOT_SPAWNED, cause=Cause.CANCELLED, started_at=None, duration_seconds=None),
            CANCELLED,
            Reason.CANCELLED_BY_USER,
            "It was cancelled",
            None,
        ),
        (
            ending(How.SIGNALLED, signal="SIGTERM", cause=Cause.TERMINATED),
            FAILED,
            Reason.INTERRUPTED,
            "Stopped because the host was shutting down",
            False,
        ),
        (
            ending(How.INTERRUPTED),
            FAILED,
            Reason.INTERRUPTED,
            "The process that watched the script died; what was left of the script was killed",
            False,
        ),
        (
            ending(How.SPAWN_FAILED, started_at=None, error="Cannot execute /s: Permission denied"),
            FAILED,
            Reason.SPAWN_FAILED,
            "The script could not be started: Cannot execute /s: Permission denied",
            False,
        ),
        (ending(code=0, error="The disk was full"), COMPLETED, None, "The disk was full", True),
        (
            ending(code=2, error="The disk was full"),
            FAILED,
            Reason.EXIT_CODE,
            "Ended with exit code 2. The disk was full",
            False,
        ),
    ],
)
def test_an_ending_is_judged(
    given: Ending, status: ExecutionStatus, reason: Reason | None, message: str | None, success: bool | None
) -> None:
    assert judge(given, LIMITS) == Outcome(
        status,
        completed_at=ENDED,
        reason=reason,
        message=message,
        success=success,
        exit_code=given.code,
        signal=given.signal,
        duration_seconds=given.duration_seconds,
        log_bytes=12,
    )


@pytest.mark.parametrize("outcome", How)
@pytest.mark.parametrize("cause", [None, *Cause])
@pytest.mark.parametrize("marker", [None, True, False])
def test_status_reason_and_success_always_agree(outcome: How, cause: Cause | None, marker: bool | None) -> None:
    outcome_of = judge(ending(outcome, cause=cause, success_marker=marker, code=1), LIMITS)
    success = {COMPLETED: True, FAILED: False, CANCELLED: None}[outcome_of.status]
    assert outcome_of.success is success
    assert (outcome_of.reason is None) == (outcome_of.status is COMPLETED)
    assert outcome_of.message or outcome_of.status is COMPLETED


def test_an_exit_code_is_followed_by_the_error_that_the_script_said_last() -> None:
    said = "KeyError: 'channel'"
    assert judge(ending(code=1), LIMITS, said).message == "Ended with exit code 1: KeyError: 'channel'"
    assert judge(ending(code=0), LIMITS, said).message is None
    reported = judge(ending(code=1, success_marker=False), LIMITS, "the tuner has no lock").message
    assert reported == "The script reported SCRIPT_SUCCESS:false and ended with exit code 1: the tuner has no lock"
    assert judge(ending(cause=Cause.TIMED_OUT), LIMITS, said).message == "Stopped after 3600 s, its time limit"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (b"", None),
        (b"probe 3 of 10: 21 ms\n", None),
        (b"SCRIPT_SUCCESS:false\n", None),
        (b"FAILED: the tuner has no lock\n\nSCRIPT_SUCCESS:false\n", "the tuner has no lock"),
        (b"FAILED: no lock\nall of it is over\n", None),
        (b"ERROR: \x1b[2J\n", None),
        (b"it told me: KeyError: 'channel'\n", None),
        (b"Traceback (most recent call last):\nKeyError: 'channel'\n", "KeyError: 'channel'"),
        (b"SyntaxError: '(' was never closed\n", "SyntaxError: '(' was never closed"),
        (b"urllib.error.HTTPError: HTTP Error 503: busy", "urllib.error.HTTPError: HTTP Error 503: busy"),
        (b"AssertionError\n\n", "AssertionError"),
        (b"ValueError: \x1b[2J\n", None),
        ("ValueError: größe\r\n".encode(), "ValueError: größe"),
        (b"ValueError: " + b"x" * 300, "ValueError: " + "x" * 187 + "…"),
        (b"/scripts/zap.sh: 3: curll: not found\n", "/scripts/zap.sh: 3: curll: not found"),
        (b"/scripts/zap.sh: line 3: curll: command not found\n", "/scripts/zap.sh: line 3: curll: command not found"),
    ],
)
def test_the_last_line_counts_when_it_names_an_error(output: bytes, said: str | None) -> None:
    assert error_line(output) == said


def test_the_result_of_the_script_is_kept() -> None:
    result = UUID(int=7)
    assert judge(ending(code=0, result_id=result), LIMITS).script_result_id == result


def test_a_script_that_was_never_given_to_a_shim_has_failed() -> None:
    assert not_startable(Reason.SCRIPT_NOT_FOUND, "There is no script x", ENDED) == Outcome(
        FAILED, completed_at=ENDED, reason=Reason.SCRIPT_NOT_FOUND, message="There is no script x", success=False
    )
