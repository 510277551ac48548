"""May this run start? The rules of a host, pure: `(host, event) -> (host, commands)`.

The order in which a trigger is judged is the order of `_refusal` and `_admit`; the first that applies decides, and what
it says is what a person reads on the page. A redelivery does nothing at all.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from libs.contracts import SENTENCES, Cancel, CommandResult, OnDeviceBusy, Reason, Void
from services.host_runner.core.holders import filled_by, held_by, locked_by, wanted_by
from services.host_runner.core.host import DeviceLock, Host, Run
from services.host_runner.core.orders import obey
from services.host_runner.core.vocabulary import (
    Answer,
    Cancelled,
    ClockRead,
    ClockSet,
    Command,
    Event,
    Finished,
    Queued,
    Report,
    RunExited,
    RunRequested,
    RunStarted,
    Skipped,
    Spawn,
    Started,
    Stop,
    Ticked,
    Told,
)


def decide(host: Host, event: Event) -> tuple[Host, tuple[Command, ...]]:
    """The host after `event`, and what is to be done, in order."""
    match event:
        case RunRequested(trigger, known) if known or host.holds(trigger):
            return host, ()
        case RunRequested(trigger, _, now):
            run = Run(trigger, received_at=now)
            refusal = _refusal(host, run, now)
            return (host, (Report(run, refusal),)) if refusal is not None else _admit(host, run, now)
        case RunStarted(execution_id, started_at):
            return _started(host, execution_id, started_at)
        case RunExited():
            return _exited(host, event)
        case Told():
            return _told(host, event)
        case ClockRead(offset):
            return replace(host, clock_offset_seconds=offset, was_clock_set=False), ()
        case ClockSet():
            return replace(host, clock_offset_seconds=None, was_clock_set=True), ()
        case Ticked(now):
            return _tick(host, now)
        case _:
            assert_never(event)


def _refusal(host: Host, run: Run, now: datetime) -> Skipped | Cancelled | None:
    """Why the run cannot be taken at all, whatever the device does."""
    trigger = run.trigger
    if run.id in host.tombstones:
        if host.tombstones[run.id] == Reason.CANCELLED_BY_USER:
            return Cancelled()
        return Skipped(Reason.MISSED, "The centre had given it up before it reached the host")
    fence = host.fences.get(run.deployment)
    if fence is not None and (trigger.ledger_epoch, trigger.version) < fence.position:
        return Skipped(fence.reason, SENTENCES[fence.reason])
    late = host.seconds_late(trigger, now)
    if late is not None:
        return Skipped(Reason.MISSED, f"{SENTENCES[Reason.MISSED]}: it came {late:.1f} s too late")
    if host.forgotten_before is not None and trigger.not_after < host.forgotten_before:
        # Its id may have been decided and forgotten since: running it could be running it twice.
        return Skipped(Reason.MISSED, f"{SENTENCES[Reason.MISSED]}: it is older than what the host remembers")
    if run.device not in host.devices:
        return _unknown_device(run)
    if run.deployment in host.pending:
        return Skipped(Reason.ALREADY_QUEUED, SENTENCES[Reason.ALREADY_QUEUED])
    return None


def _unknown_device(run: Run) -> Skipped:
    return Skipped(Reason.UNKNOWN_DEVICE, f"{SENTENCES[Reason.UNKNOWN_DEVICE]}: {run.device}")


def _admit(host: Host, run: Run, now: datetime) -> tuple[Host, tuple[Command, ...]]:
    if run.deployment in host.running:
        parked = host.park(run, now)
        return parked, (Report(parked.pending[run.deployment], Queued(None)),)
    obstacle = _obstacle(host, run)
    if obstacle is None:
        started = host.start(run, now)
        return started, (Spawn(started.running[run.deployment]),)
    if run.trigger.on_device_busy is OnDeviceBusy.QUEUE:
        parked = host.park(run, now)
        return parked, (Report(parked.pending[run.deployment], Queued(obstacle.reason)),)
    return host, (Report(run, obstacle),)


def _obstacle(host: Host, run: Run) -> Skipped | None:
    """What keeps the run, which is not its own deployment's turn to wait, from starting at once."""
    lock = host.lock_of(run.device)
    if lock is not None:
        return Skipped(Reason.DEVICE_LOCKED, locked_by(lock))
    holder = host.on_device(run.device)
    if holder is not None:
        return Skipped(Reason.DEVICE_BUSY, held_by(holder))
    waiting = host.waiting_for(run.device)
    if waiting:
        return Skipped(Reason.DEVICE_BUSY, wanted_by(waiting[0]))
    if host.is_full():
        return Skipped(Reason.HOST_BUSY, filled_by(host.running.values(), host.max_parallel))
    return None


def _started(host: Host, execution_id: UUID, started_at: datetime) -> tuple[Host, tuple[Command, ...]]:
    run = host.find(execution_id)
    if run is None or run.started_at is not None:
        return host, ()
    begun = replace(run, started_at=started_at)
    return host.change(begun), (Report(begun, Started(started_at)),)


def _exited(host: Host, event: RunExited) -> tuple[Host, tuple[Command, ...]]:
    if not host.is_running(event.execution_id):
        return host, ()
    commands: tuple[Command, ...] = ()
    if event.started_at is not None:
        # A run that ended while nobody watched has not been reported as started yet.
        host, commands = _started(host, event.execution_id, event.started_at)
    run = host.find(event.execution_id)
    assert run is not None
    return _promote(host.leave(run, event.now), event.now, (*commands, Report(run, Finished(event.outcome))))


def _told(host: Host, event: Told) -> tuple[Host, tuple[Command, ...]]:
    command = event.command
    match command:
        case Cancel():
            return _cancel(host, command, event.now, known=event.known)
        case Void():
            return _void(host, command, known=event.known)
        case _:
            after, commands = obey(host, command, event.now)
            return _promote(after, event.now, commands)


def _cancel(host: Host, cancel: Cancel, now: datetime, *, known: bool) -> tuple[Host, tuple[Command, ...]]:
    run = host.find(cancel.execution_id)
    if run is None and (known or host.tombstones.get(cancel.execution_id) == Reason.CANCELLED_BY_USER):
        return host, (Answer(cancel, CommandResult.STALE),)
    if run is None:
        buried = {**host.tombstones, cancel.execution_id: Reason.CANCELLED_BY_USER}
        return replace(host, tombstones=buried), (Answer(cancel, CommandResult.UNKNOWN),)
    if not host.is_running(run.id):
        left = host.leave(run, now)
        return _promote(left, now, (Report(run, Cancelled()), Answer(cancel, CommandResult.APPLIED)))
    if run.cancel_requested:
        return host, (Answer(cancel, CommandResult.STALE),)
    asked = replace(run, cancel_requested=True)
    return host.change(asked), (Stop(asked), Answer(cancel, CommandResult.APPLIED))


def _void(host: Host, void: Void, *, known: bool) -> tuple[Host, tuple[Command, ...]]:
    if known or host.find(void.execution_id) is not None:
        return host, (Answer(void, CommandResult.HELD),)
    buried = {void.execution_id: Reason.MISSED, **host.tombstones}
    return replace(host, tombstones=buried), (Answer(void, CommandResult.UNKNOWN),)


def _tick(host: Host, now: datetime) -> tuple[Host, tuple[Command, ...]]:
    commands: list[Command] = []
    locks = {device: _unless_expired(host, lock, now) for device, lock in host.locks.items()}
    if locks != host.locks:
        host = replace(host, locks=locks)
    for run in sorted(host.pending.values(), key=lambda one: one.rank):
        if _has_waited_too_long(run, now):
            sentence = f"{SENTENCES[Reason.WAITED_TOO_LONG]}: {run.trigger.max_wait_seconds:g} s"
            commands.append(Report(run, Skipped(Reason.WAITED_TOO_LONG, sentence)))
            host = host.leave(run, now)
    return _promote(host, now, tuple(commands))


def _unless_expired(host: Host, lock: DeviceLock, now: datetime) -> DeviceLock:
    # By a clock that is known to be wrong no device is freed under somebody's hands; the centre's word frees it.
    if lock.expires_at is None or not host.can_tell_expiry or lock.expires_at > host.database_time(now):
        return lock
    return replace(lock, held=False)


def _has_waited_too_long(run: Run, now: datetime) -> bool:
    limit = timedelta(seconds=run.trigger.max_wait_seconds)
    return run.waiting_since is not None and now - run.waiting_since >= limit


def _promote(host: Host, now: datetime, done: tuple[Command, ...]) -> tuple[Host, tuple[Command, ...]]:
    """Start what waited and may start now, longest-waiting first, whichever deployment it belongs to."""
    commands = list(done)
    for run in sorted(host.pending.values(), key=lambda one: one.rank):
        if run.device not in host.devices:
            commands.append(Report(run, _unknown_device(run)))
            host = host.leave(run, now)
        elif host.may_start(run):
            host = host.start(run, now)
            commands.append(Spawn(host.running[run.deployment]))
    return host, tuple(commands)
