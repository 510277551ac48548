"""The shell around `core.decide`: reads the clock and the journal, writes the decision down, then has it done.

The order is the promise: decided, written (with the events that it causes), acknowledged by the caller, done, said.
`decide` is the first half and returns what is to be done; `perform` is the second. Whatever is lost in between, the
next start finds in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from libs.chassis.logs import get_logger
from libs.chassis.metrics import counter, gauge
from libs.contracts import Cancel, Clock, Fence, HostEvent, Lock, Notice, Resend, Sync, Trigger, Unlock, Void
from services.host_runner.clock import Readings, read
from services.host_runner.core.decide import decide
from services.host_runner.core.facts import Identity, Stamp, applied, device_changed, fact, has_moved, lock_changes
from services.host_runner.core.host import MAX_TRUSTED_OFFSET_SECONDS, Host, Run
from services.host_runner.core.vocabulary import (
    Answer,
    ClockRead,
    ClockSet,
    Command,
    Event,
    Report,
    RunRequested,
    Spawn,
    Stop,
    Ticked,
    Told,
)
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.journal import Journal, Saying

REPORTS = counter("host_reports", "What this host said about runs, by event", ["event"])
RUNNING = gauge("host_running", "Scripts that run on this host")
PENDING = gauge("host_pending", "Runs that wait in a slot on this host")
OFFSET = gauge("host_clock_offset_seconds", "What to add to the host's clock for database time")

log = get_logger(__name__)


class Hands(Protocol):
    """Who starts and stops scripts."""

    def spawn(self, run: Run) -> None:
        """Begin the run; answers at once."""

    def stop_run(self, run: Run) -> None:
        """End the run's process tree; answers at once."""


class Runner:
    """One host's decisions, in the order in which they are made. Not thread-safe: one event loop."""

    def __init__(
        self,
        host: Host,
        journal: Journal,
        identity: Identity,
        deployments_log: DeploymentsLog,
        now: Callable[[], datetime],
    ) -> None:
        self.host = host
        self.journal = journal
        self.identity = identity
        self.now = now
        self.has_news = asyncio.Event()
        """Set when there is something for the broker."""
        self.is_busy = asyncio.Event()
        """Set while a script runs."""
        if host.running:
            self.is_busy.set()
        self.has_moved = asyncio.Event()
        """Set when what the devices do may have changed."""
        self.synced = asyncio.Event()
        """Set once the centre's state of the world is known: a new journal admits nothing before."""
        if host.synced_at is not None:
            self.synced.set()
        self.readings = Readings()
        """What is known of the database's clock."""
        self._log = deployments_log
        self._hands: Hands | None = None
        self._look_at_clock: Callable[[], object] = self.now
        self._renew_credentials: Callable[[], object] = self.now

    def use(self, hands: Hands) -> None:
        """From now on `hands` starts and stops scripts."""
        self._hands = hands

    def look_at_clock_with(self, look: Callable[[], object]) -> None:
        """Before a trigger is judged `look` is called, which says (`clock_was_set`) if the host's clock jumped."""
        self._look_at_clock = look

    def renew_credentials_with(self, renew: Callable[[], object]) -> None:
        """`renew` is called when the centre wants the host to take new credentials."""
        self._renew_credentials = renew

    def request(self, trigger: Trigger) -> tuple[Command, ...]:
        """Decide about a trigger."""
        self._look_at_clock()
        return self.decide(RunRequested(trigger, self.journal.knows(trigger.execution_id), self.now()))

    def tell(
        self, command: Fence | Cancel | Void | Lock | Unlock | Sync | Clock | Resend | Notice
    ) -> tuple[Command, ...]:
        """Decide about a command of the centre."""
        now = self.now()
        if isinstance(command, Notice):
            self._log.noticed(command, now)
            return ()
        if isinstance(command, Sync | Clock):
            self._read_clock(command, now)
        if isinstance(command, Clock):
            if command.renew_credentials:
                self._renew_credentials()
            return ()
        known = isinstance(command, Cancel | Void) and self.journal.knows(command.execution_id)
        commands = self.decide(Told(command, now, known))
        if isinstance(command, Sync):
            self._log.synced(command.deployments, now)
            self.synced.set()
        return commands

    def tick(self) -> None:
        """Time passed."""
        self.apply(Ticked(self.now()))

    def clock_was_set(self) -> None:
        """The host's clock jumped: its offset must be read anew before anything is judged by it."""
        log.warning("The host's clock was set; its offset is read anew", offset_seconds=self.host.clock_offset_seconds)
        self.readings = Readings()
        OFFSET.set(float("nan"))
        self.apply(ClockSet())

    def apply(self, event: Event) -> None:
        """Decide and do."""
        self.perform(self.decide(event))

    def decide(self, event: Event) -> tuple[Command, ...]:
        """Decide and write it down. Raises `sqlite3.Error` if it cannot be written; nothing has happened then."""
        now = self.now()
        before = self.host
        after, commands = decide(before, event)
        if after is not before or commands:
            stamp = Stamp(now, after.clock_offset_seconds)
            self.journal.record(before, after, commands, self._sayings(before, after, commands, stamp), now)
            self.host = after
            self._log.happened(event, commands, now)
            self._measure(commands)
            self.has_news.set()
            if has_moved(before, after):
                self.has_moved.set()
        return commands

    def perform(self, commands: tuple[Command, ...]) -> None:
        """Do what was decided."""
        for command in commands:
            match command:
                case Spawn(run):
                    assert self._hands is not None
                    self._hands.spawn(run)
                case Stop(run):
                    assert self._hands is not None
                    self._hands.stop_run(run)
                case _:
                    pass

    def forget(self, now: datetime) -> None:
        """Drop from the journal what was kept long enough. Needs a trusted clock; without one, later."""
        if self.host.has_trusted_clock:
            horizon = self.journal.forget(now, self.host.database_time(now))
            self.host = replace(self.host, forgotten_before=horizon)

    def is_cancelled(self, execution_id: UUID) -> bool:
        """Whether a person wants this execution to end."""
        run = self.host.find(execution_id)
        return run is not None and run.cancel_requested

    def _sayings(self, before: Host, after: Host, commands: tuple[Command, ...], stamp: Stamp) -> list[Saying]:
        sayings: list[Callable[[int], HostEvent]] = []
        for command in commands:
            match command:
                case Report():
                    sayings.append(partial(fact, command, self.identity, stamp))
                case Answer():
                    sayings.append(partial(applied, command, self.identity, stamp))
                case _:
                    pass
        changes = lock_changes(before, after)
        return [*sayings, *(partial(device_changed, state, self.identity, stamp) for state in changes)]

    def _read_clock(self, command: Sync | Clock, received: datetime) -> None:
        reading = read(command.host_sent_at, received, command.db_time)
        if reading is None:
            return
        self.readings = self.readings.add(reading)
        best = self.readings.best
        assert best is not None
        offset = best.offset_seconds
        if abs(offset) > MAX_TRUSTED_OFFSET_SECONDS:
            log.error("The host's clock is far from the database's", offset_seconds=offset)
        OFFSET.set(offset)
        self.decide(ClockRead(offset))

    def _measure(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            if isinstance(command, Report):
                REPORTS.labels(type(command.word).__name__.lower()).inc()
        if self.host.running:
            self.is_busy.set()
        else:
            self.is_busy.clear()
        RUNNING.set(len(self.host.running))
        PENDING.set(len(self.host.pending))
