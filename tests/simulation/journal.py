"""A host's disk: the journal in memory, with the meaning of the real one and none of its cost.

A call is one transaction: it is written whole or, when the runner dies before it, not at all. What it keeps outlives
every runner; a test holds it against the real journal, digest for digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import HostEvent, Reason
from services.host_runner.core.host import DeviceLock, FenceMark, Host, Run
from services.host_runner.core.vocabulary import Command, Report, SendAgain
from services.host_runner.journal import KEEP_CONFIRMED, KEEP_DECIDED, KEEP_TOMBSTONES, Journal, Saying, _changed


class MemoryJournal(Journal):
    """Keeps what `Journal` keeps, but for logs and artifacts."""

    def __init__(self, fresh_id: UUID, keep_confirmed: timedelta = KEEP_CONFIRMED) -> None:
        # The real one opens a file.
        self.id = fresh_id
        self._keep_confirmed = keep_confirmed
        self._sequence = 0
        self._runs: dict[UUID, tuple[str, Run]] = {}
        self._events: dict[int, tuple[HostEvent, datetime]] = {}
        self._unconfirmed: dict[int, HostEvent] = {}
        self._confirmed_at: dict[int, datetime] = {}
        self._tombstones: dict[UUID, tuple[Reason, datetime]] = {}
        self._fences: dict[UUID, FenceMark] = {}
        self._locks: Mapping[str, DeviceLock] = {}
        self._centre: tuple[int, datetime | None] = (0, None)
        self._forgotten: datetime | None = None

    def load(self, devices: frozenset[str], max_parallel: int) -> Host:
        """As the real one."""
        return Host(
            devices=devices,
            max_parallel=max_parallel,
            ledger_epoch=self._centre[0],
            synced_at=self._centre[1],
            forgotten_before=self._forgotten,
            running={run.deployment: run for state, run in self._runs.values() if state == "running"},
            pending={run.deployment: run for state, run in self._runs.values() if state == "pending"},
            fences=dict(self._fences),
            locks=dict(self._locks),
            tombstones={key: reason for key, (reason, _) in self._tombstones.items()},
        )

    def knows(self, execution_id: UUID) -> bool:
        """As the real one."""
        return execution_id in self._runs

    def record(
        self, before: Host, after: Host, commands: Sequence[Command], sayings: Sequence[Saying], now: datetime
    ) -> None:
        """One decision and the events that it causes."""
        for command in commands:
            if isinstance(command, Report) and command.is_last:
                self._runs[command.run.id] = ("ended", command.run)
        for run in _changed(before.running, after.running):
            self._runs[run.id] = ("running", run)
        for run in _changed(before.pending, after.pending):
            self._runs[run.id] = ("pending", run)
        self._record_centre(before, after, now)
        for command in commands:
            if isinstance(command, SendAgain):
                self._unconfirmed = {n: event for n, (event, _) in self._events.items() if n >= command.from_sequence}
        for saying in sayings:
            self._sequence += 1
            event = saying(self._sequence)
            self._events[self._sequence] = event, now
            self._unconfirmed[self._sequence] = event

    def _record_centre(self, before: Host, after: Host, now: datetime) -> None:
        self._centre = after.ledger_epoch, after.synced_at
        if before.fences is not after.fences:
            self._fences = dict(after.fences)
        if before.locks is not after.locks:
            self._locks = after.locks
        if before.tombstones is not after.tombstones:
            for execution, reason in after.tombstones.items():
                if before.tombstones.get(execution) != reason:
                    self._tombstones[execution] = reason, now

    def events_to_send(self, most: int) -> list[tuple[int, HostEvent]]:
        """The oldest that the broker has not confirmed, in order."""
        return [(number, self._unconfirmed[number]) for number in sorted(self._unconfirmed)[:most]]

    def count_unsent(self) -> int:
        """As the real one."""
        return len(self._unconfirmed)

    def confirmed(self, sequences: Iterable[int], now: datetime) -> None:
        """As the real one."""
        for number in sequences:
            self._unconfirmed.pop(number, None)
            self._confirmed_at[number] = now

    def forget(self, now: datetime, centre: datetime) -> datetime:
        """As the real one."""
        horizon = centre - KEEP_DECIDED
        self._forgotten = min(horizon if self._forgotten is None else max(self._forgotten, horizon), centre)
        for identity, (state, run) in list(self._runs.items()):
            if state == "ended" and run.trigger.not_after < horizon:
                del self._runs[identity]
        for identity, (_, at) in list(self._tombstones.items()):
            if at < now - KEEP_TOMBSTONES:
                del self._tombstones[identity]
        for number, at in list(self._confirmed_at.items()):
            if at < now - self._keep_confirmed and number not in self._unconfirmed:
                del self._events[number]
                del self._confirmed_at[number]
        return self._forgotten

    def remembered(self) -> set[UUID]:
        """Every execution that it decided, or promised never to start."""
        return set(self._runs) | set(self._tombstones)
