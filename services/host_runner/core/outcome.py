"""What an ending means: status, reason, the sentence for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts import SENTENCES, ExecutionStatus, Reason
from services.host_runner.core.ending import Cause, Ending, How

SIGNALS_IN_WORDS = {
    "SIGABRT": "it aborted",
    "SIGBUS": "a bus error",
    "SIGFPE": "an arithmetic error",
    "SIGILL": "an illegal instruction",
    "SIGKILL": "killed; perhaps the machine was out of memory",
    "SIGPIPE": "its output was closed",
    "SIGSEGV": "a segmentation fault",
    "SIGTERM": "asked to end, not by Rigbeat",
    "SIGXFSZ": "a file became larger than the host lets it be",
}
EXIT_CODES_IN_WORDS = {
    126: "a command in it cannot be executed",
    127: "a command in it was not found",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended, for the ledger. `reason` is None when it completed, `message` when all is well.

    `success` is True when completed, False when failed, None when cancelled.
    """

    status: ExecutionStatus
    completed_at: datetime
    reason: Reason | None = None
    message: str | None = None
    success: bool | None = None
    exit_code: int | None = None
    signal: str | None = None
    duration_seconds: float | None = None
    script_result_id: UUID | None = None
    log_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the run was allowed, in seconds: for the sentences."""

    timeout_seconds: float
    silence_timeout_seconds: float | None = None


def not_startable(reason: Reason, message: str, now: datetime) -> Outcome:
    """The outcome of a run whose script was never given to a shim: an attempt that failed, and counts."""
    return Outcome(ExecutionStatus.FAILED, completed_at=now, reason=reason, message=message, success=False)


def judge(ending: Ending, limits: Limits, said_last: str | None = None) -> Outcome:
    """The outcome of a run. `said_last` is the error that its output ends with, if it does.

    `success` is the script's last SCRIPT_SUCCESS line if there is one, whatever its process did afterwards (a library
    that crashes at exit), else exit code 0. A script that had to be stopped did not succeed, whatever it had printed.
    """
    reason = _reason(ending)
    status = ExecutionStatus.COMPLETED
    if reason is not None:
        status = ExecutionStatus.CANCELLED if reason is Reason.CANCELLED_BY_USER else ExecutionStatus.FAILED
    return Outcome(
        status=status,
        completed_at=ending.ended_at,
        reason=reason,
        message=". ".join(part for part in (_sentence(reason, ending, limits, said_last), *_remarks(ending)) if part)
        or None,
        # Nobody let a cancelled run come to a verdict.
        success=None if status is ExecutionStatus.CANCELLED else reason is None,
        exit_code=ending.code,
        signal=ending.signal,
        duration_seconds=ending.duration_seconds,
        script_result_id=ending.result_id,
        log_bytes=ending.output_bytes,
    )


def _reason(ending: Ending) -> Reason | None:
    match ending.cause:
        case Cause.CANCELLED:
            return Reason.CANCELLED_BY_USER
        case Cause.TIMED_OUT:
            return Reason.TIMED_OUT
        case Cause.SILENT:
            return Reason.SILENT
        case Cause.TERMINATED:
            return Reason.INTERRUPTED
        case None:
            return _own_reason(ending)


def _own_reason(ending: Ending) -> Reason | None:
    match ending.outcome:
        case How.INTERRUPTED | How.NOT_SPAWNED:
            return Reason.INTERRUPTED
        case How.SPAWN_FAILED:
            return Reason.SPAWN_FAILED
        case How.EXITED | How.SIGNALLED if ending.success_marker:
            return None
        case How.SIGNALLED:
            return Reason.SIGNALLED
        case How.EXITED if ending.success_marker is False:
            return Reason.SCRIPT_REPORTED_FAILURE
        case How.EXITED:
            return None if ending.code == 0 else Reason.EXIT_CODE


def _remarks(ending: Ending) -> Iterator[str]:
    """What a person should know of the run besides how it ended."""
    if ending.error and ending.outcome is not How.SPAWN_FAILED:
        yield ending.error
    elif ending.dropped_bytes:
        yield f"Its output was capped: only the first {ending.output_bytes} bytes are kept"
    if ending.memory_kills:
        processes = "one of its processes" if ending.memory_kills == 1 else f"{ending.memory_kills} of its processes"
        yield f"The kernel killed {processes}: the run had used up the memory that the host lets it have"
    if ending.forks_refused:
        yield "It wanted more processes than the host lets it have"
    if ending.leftovers:
        processes = "A process" if ending.leftovers == 1 else f"{ending.leftovers} processes"
        yield f"{processes} that it had left behind had to be ended"


def _sentence(reason: Reason | None, ending: Ending, limits: Limits, said_last: str | None) -> str:
    sentence = "" if reason is None else SENTENCES[reason]
    match reason:
        case Reason.TIMED_OUT:
            sentence = f"Stopped after {limits.timeout_seconds:g} s, its time limit"
        case Reason.SILENT if limits.silence_timeout_seconds is not None:
            sentence = f"Stopped because it printed nothing for {limits.silence_timeout_seconds:g} s"
        case Reason.INTERRUPTED if ending.cause is Cause.TERMINATED:
            sentence = "Stopped because the host was shutting down"
        case Reason.SPAWN_FAILED if ending.error:
            sentence = f"The script could not be started: {ending.error}"
        case Reason.SIGNALLED:
            words = "" if ending.memory_kills else SIGNALS_IN_WORDS.get(ending.signal or "")
            sentence = f"Ended by signal {ending.signal}" + (f" ({words})" if words else "")
        case Reason.EXIT_CODE:
            words = EXIT_CODES_IN_WORDS.get(ending.code or 0)
            sentence = f"Ended with exit code {ending.code}" + (f" ({words})" if words else "")
            sentence += f": {said_last}" if said_last else ""
        case Reason.SCRIPT_REPORTED_FAILURE:
            sentence += f" and ended with exit code {ending.code}" if ending.code else ""
            sentence += f": {said_last}" if said_last else ""
        case _:
            pass
    return sentence
