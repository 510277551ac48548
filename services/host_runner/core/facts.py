"""What is decided, as messages for the centre: pure, the same words and sequence make the same message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from libs.contracts import (
    SENTENCES,
    Cancel,
    CommandApplied,
    DeviceChanged,
    DeviceState,
    ExecutionFact,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    Fence,
    Reason,
    Void,
)
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import Answer, Cancelled, Finished, Queued, Report, Skipped, Started


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: the host, its journal, this process."""

    host: str
    journal_id: UUID
    runner_id: UUID


@dataclass(frozen=True, slots=True)
class Stamp:
    """When it is said, in the host's clock, with what was then known of the database's."""

    at: datetime
    clock_offset_seconds: float | None


def fact(report: Report, identity: Identity, stamp: Stamp, sequence: int) -> ExecutionFact:
    """The event for what became of a run."""
    run, word = report.run, report.word
    trigger = run.trigger
    common: dict[str, Any] = {
        "host": identity.host,
        "journal_id": identity.journal_id,
        "runner_id": identity.runner_id,
        "execution_id": trigger.execution_id,
        "deployment_id": trigger.deployment_id,
        "ledger_epoch": trigger.ledger_epoch,
        "version": trigger.version,
        "kind": trigger.kind,
        "scheduled_at": trigger.scheduled_at,
        "device_id": trigger.device_id,
        "script_name": trigger.script_name,
        "sequence": sequence,
        "at": stamp.at,
        "clock_offset_seconds": stamp.clock_offset_seconds,
        "received_at": run.received_at,
    }
    times: dict[str, Any] = {"queued_at": run.queued_at, "admitted_at": run.admitted_at}
    match word:
        case Queued(reason):
            return ExecutionQueued(**common, reason=reason)
        case Skipped(reason, message):
            return ExecutionSkipped(**common, reason=reason, message=message, queued_at=run.queued_at)
        case Started(started_at):
            return ExecutionStarted(**common, **times, started_at=started_at)
        case Cancelled():
            return ExecutionFinished(
                **common,
                **times,
                started_at=None,
                completed_at=stamp.at,
                status=ExecutionStatus.CANCELLED,
                reason=Reason.CANCELLED_BY_USER,
                message=SENTENCES[Reason.CANCELLED_BY_USER],
            )
        case Finished(outcome):
            return ExecutionFinished(
                **common,
                **times,
                started_at=run.started_at,
                completed_at=outcome.completed_at,
                status=outcome.status,
                reason=outcome.reason,
                message=outcome.message,
                success=outcome.success,
                exit_code=outcome.exit_code,
                signal=outcome.signal,
                duration_seconds=outcome.duration_seconds,
                script_result_id=outcome.script_result_id,
                log_bytes=outcome.log_bytes,
            )
        case _:
            assert_never(word)


def applied(answer: Answer, identity: Identity, stamp: Stamp, sequence: int) -> CommandApplied:
    """The event for a command that is taken into account."""
    command = answer.command
    return CommandApplied(
        host=identity.host,
        journal_id=identity.journal_id,
        runner_id=identity.runner_id,
        command_id=command.command_id,
        command=command.type,
        result=answer.result,
        sequence=sequence,
        at=stamp.at,
        deployment_id=command.deployment_id if isinstance(command, Fence | Cancel | Void) else None,
        execution_id=command.execution_id if isinstance(command, Cancel | Void) else None,
        version=command.version if isinstance(command, Fence) else None,
    )


def device_changed(state: DeviceState, identity: Identity, stamp: Stamp, sequence: int) -> DeviceChanged:
    """The event for a device that a person took or gave back."""
    return DeviceChanged(
        host=identity.host,
        journal_id=identity.journal_id,
        runner_id=identity.runner_id,
        sequence=sequence,
        at=stamp.at,
        device=state,
    )


def device_state(host: Host, device: str) -> DeviceState:
    """What the device does. A run under way counts more than a lock, which lets it go on."""
    run = host.on_device(device)
    waiting = tuple(one.id for one in host.waiting_for(device))
    if run is not None:
        return DeviceState(device_id=device, status="running", execution_id=run.id, pending=waiting)
    if host.lock_of(device) is not None:
        return DeviceState(device_id=device, status="locked", pending=waiting)
    return DeviceState(device_id=device, status="waiting" if waiting else "free", pending=waiting)


def has_moved(before: Host, after: Host) -> bool:
    """Whether a device may do something else now than before: cheap, and true rather once too often."""
    return before.running is not after.running or before.pending is not after.pending or before.locks is not after.locks


def lock_changes(before: Host, after: Host) -> tuple[DeviceState, ...]:
    """The devices whose lock came or went. What runs on them the centre knows from the executions themselves."""
    if before.locks is after.locks:
        return ()
    return tuple(
        device_state(after, device)
        for device in sorted(after.devices)
        if (before.lock_of(device) is None) != (after.lock_of(device) is None)
    )
