"""What a host knows: everything that "may this start now?" depends on lives in this file.

`running` and `pending` are keyed by deployment: the key *is* the rule of one running and one pending run, a second one
cannot be written down. Which devices are taken is not kept beside them, it follows from `running`.

Times without a name of their own are in the host's clock, aware, in UTC; times of the centre (`not_after`, locks,
`synced_at`) are in database time. `database_time` converts, as far as the offset is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import Reason, Trigger

MAX_TRUSTED_OFFSET_SECONDS = 30.0
"""Over this the host's clock is too wrong to judge lateness; the message's time-to-live alone does (architecture 3)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One admitted or waiting execution.

    `waiting_since`: since when it waits for something other than its own deployment; `max_wait_seconds` counts from it.
    """

    trigger: Trigger
    received_at: datetime
    queued_at: datetime | None = None
    waiting_since: datetime | None = None
    admitted_at: datetime | None = None
    started_at: datetime | None = None
    cancel_requested: bool = False

    @property
    def id(self) -> UUID:
        """The execution's id."""
        return self.trigger.execution_id

    @property
    def deployment(self) -> UUID:
        """The id of the deployment that it belongs to."""
        return self.trigger.deployment_id

    @property
    def device(self) -> str:
        """The device that it wants."""
        return self.trigger.device_id

    @property
    def rank(self) -> tuple[datetime, UUID]:
        """Who waits longest comes first: by scheduled time, then by id."""
        return self.trigger.scheduled_at, self.trigger.execution_id


@dataclass(frozen=True, slots=True)
class DeviceLock:
    """The last word about a device's lock. `held` is false after an unlock: the version must outlive the lock, so that
    an older `lock` that comes late does nothing.
    """

    version: int
    held: bool
    owner: str = ""
    reason: str = ""
    since: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FenceMark:
    """Triggers older than `(epoch, version)` are refused with `reason`."""

    epoch: int
    version: int
    reason: Reason

    @property
    def position(self) -> tuple[int, int]:
        """What fences and triggers are compared by."""
        return self.epoch, self.version


@dataclass(frozen=True, slots=True)
class Host:
    """The state that decisions are made on. Immutable: each method answers a new host.

    `was_clock_set`: somebody set the host's clock, and its offset was not read since.
    """

    devices: frozenset[str]
    max_parallel: int
    ledger_epoch: int = 0
    synced_at: datetime | None = None
    forgotten_before: datetime | None = None
    clock_offset_seconds: float | None = None
    was_clock_set: bool = False
    running: Mapping[UUID, Run] = field(default_factory=dict)
    pending: Mapping[UUID, Run] = field(default_factory=dict)
    fences: Mapping[UUID, FenceMark] = field(default_factory=dict)
    locks: Mapping[str, DeviceLock] = field(default_factory=dict)
    tombstones: Mapping[UUID, Reason] = field(default_factory=dict)

    def find(self, execution_id: UUID) -> Run | None:
        """The run of this id, running or pending."""
        return next((run for run in self.held() if run.id == execution_id), None)

    def holds(self, trigger: Trigger) -> bool:
        """Whether the trigger's execution is running or pending."""
        places = (self.running.get(trigger.deployment_id), self.pending.get(trigger.deployment_id))
        return any(run is not None and run.id == trigger.execution_id for run in places)

    def held(self) -> Iterator[Run]:
        """Every run that is not over."""
        yield from self.running.values()
        yield from self.pending.values()

    def is_running(self, execution_id: UUID) -> bool:
        """Whether this execution has the device now."""
        return any(run.id == execution_id for run in self.running.values())

    def on_device(self, device: str) -> Run | None:
        """The run that has the device."""
        return next((run for run in self.running.values() if run.device == device), None)

    def waiting_for(self, device: str) -> tuple[Run, ...]:
        """Who waits for the device, longest first."""
        return tuple(sorted((run for run in self.pending.values() if run.device == device), key=lambda run: run.rank))

    def lock_of(self, device: str) -> DeviceLock | None:
        """The lock that holds the device now."""
        lock = self.locks.get(device)
        return lock if lock is not None and lock.held else None

    def is_full(self) -> bool:
        """Whether as many scripts run as may."""
        return len(self.running) >= self.max_parallel

    def may_start(self, run: Run) -> bool:
        """Whether nothing stands in the way of `run` but others that wait."""
        return (
            run.deployment not in self.running
            and self.on_device(run.device) is None
            and self.lock_of(run.device) is None
            and not self.is_full()
        )

    def database_time(self, now: datetime) -> datetime:
        """`now` in database time; as it stands while the offset is unknown."""
        return now + timedelta(seconds=self.clock_offset_seconds or 0.0)

    @property
    def has_trusted_clock(self) -> bool:
        """Whether the offset is known and small enough to be believed."""
        return self.clock_offset_seconds is not None and abs(self.clock_offset_seconds) <= MAX_TRUSTED_OFFSET_SECONDS

    @property
    def can_tell_expiry(self) -> bool:
        """Whether `now` says if a time of the centre has come. However far off the clock is, once that is known (a lock
        must not stay for ever on a host whose clock is wrong); not while somebody has set it and nobody read it since.
        """
        return not self.was_clock_set

    def seconds_late(self, trigger: Trigger, now: datetime) -> float | None:
        """How far `now` is past `not_after`; None if it is not, or if the host's clock cannot tell."""
        if not self.has_trusted_clock:
            return None
        late = (self.database_time(now) - trigger.not_after).total_seconds()
        return late if late > 0 else None

    def start(self, run: Run, now: datetime) -> Host:
        """`run` has its device from `now` on, and no longer waits."""
        begun = replace(run, admitted_at=now, waiting_since=None)
        return replace(
            self, running={**self.running, run.deployment: begun}, pending=_without(self.pending, run.deployment)
        )

    def park(self, run: Run, now: datetime) -> Host:
        """`run` takes its deployment's slot."""
        waiting = None if run.deployment in self.running else now
        return replace(
            self, pending={**self.pending, run.deployment: replace(run, queued_at=now, waiting_since=waiting)}
        )

    def change(self, run: Run) -> Host:
        """`run`, changed, in the place that it has."""
        if run.deployment in self.running and self.running[run.deployment].id == run.id:
            return replace(self, running={**self.running, run.deployment: run})
        return replace(self, pending={**self.pending, run.deployment: run})

    def leave(self, run: Run, now: datetime) -> Host:
        """`run` is over. What waited behind it in its slot waits for the device from now on."""
        if self.is_running(run.id):
            host = replace(self, running=_without(self.running, run.deployment))
            behind = host.pending.get(run.deployment)
            return host if behind is None else host.change(replace(behind, waiting_since=now))
        return replace(self, pending=_without(self.pending, run.deployment))


def _without(runs: Mapping[UUID, Run], deployment: UUID) -> Mapping[UUID, Run]:
    return {key: run for key, run in runs.items() if key != deployment}
