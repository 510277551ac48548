"""What the centre may order a host besides runs: fences, locks, a sync. Pure; each order twice is boring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from libs.contracts import SENTENCES, CommandResult, Fence, FenceState, Lock, LockState, Resend, Sync, Unlock
from services.host_runner.core.host import DeviceLock, FenceMark, Host
from services.host_runner.core.vocabulary import Answer, Command, Report, SendAgain, Skipped

_A = CommandResult.APPLIED
_S = CommandResult.STALE


def obey(host: Host, order: Fence | Lock | Unlock | Sync | Resend, now: datetime) -> tuple[Host, tuple[Command, ...]]:
    """The host after the order, and what is to be done; whom it lets start is for the caller to find."""
    match order:
        case Fence():
            after, commands = _raise_fence(host, order, now)
            return after, (*commands, Answer(order, _A if after is not host else _S))
        case Lock():
            after = _lock(host, order)
            return after, (Answer(order, _A if after is not host else _S),)
        case Unlock():
            after = _unlock(host, order)
            return after, (Answer(order, _A if after is not host else _S),)
        case Resend():
            return host, (SendAgain(order.from_sequence), Answer(order, _A))
        case Sync():
            return _sync(host, order, now)


def _raise_fence(host: Host, fence: Fence | FenceState, now: datetime) -> tuple[Host, tuple[Command, ...]]:
    mark = FenceMark(fence.ledger_epoch, fence.version, fence.reason)
    standing = host.fences.get(fence.deployment_id)
    if standing is not None and mark.position <= standing.position:
        return host, ()
    host = replace(host, fences={**host.fences, fence.deployment_id: mark})
    waiting = host.pending.get(fence.deployment_id)
    if waiting is None or (waiting.trigger.ledger_epoch, waiting.trigger.version) >= mark.position:
        return host, ()
    return host.leave(waiting, now), (Report(waiting, Skipped(fence.reason, SENTENCES[fence.reason])),)


def _lock(host: Host, lock: Lock | LockState) -> Host:
    standing = host.locks.get(lock.device_id)
    if standing is not None and lock.lock_version <= standing.version:
        return host
    held = DeviceLock(lock.lock_version, True, lock.owner, lock.reason, lock.since, lock.expires_at)
    return replace(host, locks={**host.locks, lock.device_id: held})


def _unlock(host: Host, unlock: Unlock) -> Host:
    standing = host.locks.get(unlock.device_id)
    if standing is not None and unlock.lock_version <= standing.version:
        return host
    return replace(host, locks={**host.locks, unlock.device_id: DeviceLock(unlock.lock_version, held=False)})


def _sync(host: Host, sync: Sync, now: datetime) -> tuple[Host, tuple[Command, ...]]:
    is_older = host.synced_at is not None and sync.db_time < host.synced_at
    if sync.ledger_epoch < host.ledger_epoch or (sync.ledger_epoch == host.ledger_epoch and is_older):
        return host, (Answer(sync, _S),)
    # After a restore of the ledger versions may have gone back: its word about locks is then taken as it is.
    is_restored = host.synced_at is not None and sync.ledger_epoch > host.ledger_epoch
    known = {} if is_restored else host.locks
    host = replace(host, locks=_released(known, sync), ledger_epoch=sync.ledger_epoch, synced_at=sync.db_time)
    for lock in sync.locks:
        host = _lock(host, lock)
    emptied: list[Command] = []
    for fence in sync.fences:
        host, commands = _raise_fence(host, fence, now)
        emptied.extend(commands)
    return host, (*emptied, Answer(sync, _A))


def _released(locks: Mapping[str, DeviceLock], sync: Sync) -> dict[str, DeviceLock]:
    """The locks without those that the centre no longer knows; one that was taken after the sync was made stays."""
    wanted = {lock.device_id for lock in sync.locks}
    return {
        device: lock
        if device in wanted or (lock.since is not None and lock.since > sync.db_time)
        else replace(lock, held=False)
        for device, lock in locks.items()
    }
