"""The API's child: it folds what hosts say, keeps dead letters, hears heartbeats. It dies, and it commits too late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import (
    AnyFact,
    Clock,
    CommandApplied,
    CommandResult,
    DeploymentStatus,
    ExecutionFact,
    ExecutionStatus,
    FenceState,
    HostHello,
    LockState,
    Reason,
    Sync,
    Trigger,
    Void,
    manual_id,
)
from services.api.core import projection
from services.api.ingest.hosts import answer_id
from tests.simulation.broker import DEAD, RESULTS, Broker
from tests.simulation.ledger import EPOCH, Ledger
from tests.simulation.queues import Letter
from tests.simulation.room import Room
from tests.simulation.rows import Changes, Deployment, Execution

LISTEN = timedelta(seconds=30)
SHORTLY = timedelta(seconds=25)
"""By a pause of so long no host looks as if it were offline."""
_OPEN_AT_HOST = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)


class Worker:
    """One connection's consumer of one queue: a batch at a time, one transaction, then the acknowledgement."""

    def __init__(self, ingest: Ingest, queue: str, prefetch: int) -> None:
        self.prefetch = prefetch
        self.queue = queue
        self._ingest = ingest
        self._waiting: list[Letter] = []
        self._in_hand: list[Letter] = []

    def receive(self, letters: Sequence[Letter]) -> None:
        """More came."""
        self._waiting.extend(letters)
        self.take()

    def take(self) -> None:
        """The next batch, if none is in hand."""
        if self._waiting and not self._in_hand:
            self._in_hand, self._waiting = self._waiting[: self.prefetch], self._waiting[self.prefetch :]
            self._ingest.room.agenda.after(self._ingest.room.lag(), self._ingest.commit, self, self._in_hand)

    def done(self) -> None:
        """The batch in hand is over."""
        self._in_hand = []
        self.take()


class Ingest:
    """The consumers of `results.persist` and `dead.letters`, and of heartbeats as far as they tell who is there."""

    def __init__(self, room: Room, ledger: Ledger, broker: Broker) -> None:
        self.room = room
        self._ledger = ledger
        self._broker = broker
        self._workers: dict[str, Worker] = {}
        self.up_since: datetime | None = None
        self._ended_at = room.now
        self.there_since = room.now
        """Since then it was never away for longer than `SHORTLY`."""
        ledger.is_listening = self.is_listening

    def begin(self) -> None:
        """Connect."""
        self.up_since = self.room.now
        if self.room.now - self._ended_at > SHORTLY:
            self.there_since = self.room.now
        for name, prefetch in ((RESULTS, 500), (DEAD, 100)):
            self._workers[name] = worker = Worker(self, name, prefetch)
            self._broker.queues[name].consume(worker)

    def end(self) -> None:
        """Die, or lose the connection: what was not acknowledged comes again."""
        if self.up_since is not None:
            self.up_since, self._ended_at = None, self.room.now
        for name, worker in self._workers.items():
            self._broker.queues[name].leave(worker)
        self._workers = {}

    def is_listening(self) -> bool:
        """silence.py: whether heartbeats have been heard for so long that silence means something."""
        return self.up_since is not None and self.up_since + LISTEN <= self.room.now

    def commit(self, worker: Worker, letters: list[Letter]) -> None:
        """One transaction and its acknowledgement."""
        room, is_current = self.room, self._workers.get(worker.queue) is worker
        if not is_current and not room.happens(room.trouble.ingest_commits_late):
            return
        if not is_current:
            room.fault("ingest committed late", f"{len(letters)} messages")
        elif room.happens(room.trouble.ingest_dies):
            self.crash("before its commit")
            return
        if worker.queue == RESULTS:
            self.take_in(letters)
        else:
            self.store(letters)
        if not is_current:
            return
        if room.happens(room.trouble.ingest_dies):
            self.crash("between its commit and the acknowledgement")
            return
        if room.happens(room.trouble.ack_lost):
            room.fault("acknowledgement lost", worker.queue)
            self.end()
            self.begin()
            return
        room.agenda.after(room.lag(), self._broker.queues[worker.queue].acked, worker, letters)
        worker.done()

    def crash(self, when: str) -> None:
        """And be back a little later."""
        self.room.fault("ingest died", when)
        self.end()
        self.room.agenda.after(self.room.dice.uniform(1, 20), self._restart)

    def _restart(self) -> None:
        if self.up_since is None:
            self.begin()

    # results.py: take_in, in its order: facts, hellos, answers, then the counts.

    def take_in(self, letters: Sequence[Letter]) -> None:
        """One batch."""
        changes = Changes()
        for letter in letters:
            if isinstance(letter.message, ExecutionFact):
                self._fold(letter.message, changes)  # type: ignore[arg-type] # the four kinds are all there are
        for letter in letters:
            if isinstance(letter.message, HostHello):
                self._greet(letter.message, changes)
        for letter in letters:
            if isinstance(letter.message, CommandApplied):
                self._answered(letter.message, changes)
        self._ledger.settle(changes)

    def _fold(self, fact: AnyFact, changes: Changes) -> None:
        """fold.py: fold; executions.sql: insert_unknown."""
        ledger = self._ledger
        execution = ledger.executions.get(fact.execution_id)
        if execution is not None and id(fact) in execution.said_nothing:
            return  # the fold is pure: what it said of this very row it would say again
        if execution is None:
            deployment = ledger.deployments[fact.deployment_id]
            execution = ledger.insert(
                deployment, fact.execution_id, fact.kind, fact.scheduled_at, None, None, by_host=True
            )
        if not ledger.write(execution, projection.merge(execution.row, fact), changes, f"{fact.event} {fact.sequence}"):
            execution.said_nothing[id(fact)] = fact

    def _greet(self, hello: HostHello, changes: Changes) -> None:
        """hosts.py: greet; executions.sql: lock_lost."""
        ledger, now = self._ledger, self.room.now
        host, command_id = ledger.hosts[hello.host], answer_id(hello)
        if command_id in ledger.outbox:
            return
        if host.journal_id not in {None, hello.journal_id}:
            for execution in list(ledger.open.values()):
                row = execution.row
                if row.host_name == hello.host and row.status in _OPEN_AT_HOST and row.id not in hello.held:
                    ledger.write(execution, projection.presume_lost(row, now), changes, "a new journal")
        host.journal_id = hello.journal_id
        ledger.enclose(
            Sync(
                command_id=command_id,
                host=hello.host,
                ledger_epoch=EPOCH,
                fences=tuple(self._fences(hello.host)),
                locks=tuple(self._locks(hello.host)),
                host_sent_at=hello.host_sent_at,
                db_time=now,
            )
        )

    def _fences(self, host: str) -> list[FenceState]:
        """hosts.sql: fences."""
        found = []
        for deployment in self._ledger.deployments.values():
            if deployment.row.host_name == host:
                fence = self.fence_of(deployment)
                if fence is not None:
                    found.append(fence)
        return found

    def fence_of(self, deployment: Deployment) -> FenceState | None:
        """hosts.sql: fences, of one deployment: the version at which it was last paused, stopped or deleted."""
        row, left = deployment.row, None
        former = None
        for number, interval in enumerate(deployment.intervals):
            is_left = interval.status in {DeploymentStatus.PAUSED, DeploymentStatus.STOPPED} and (
                former is not None and interval.status is not former.status
            )
            if is_left or (interval.deleted and not (former is not None and former.deleted)):
                left = number + 1, interval
            former = interval
        if left is None:
            return None
        version, interval = left
        keep = timedelta(seconds=max(row.catch_up_window_seconds, 604_800))
        if interval.valid_from + keep <= self.room.now:
            return None
        reason = Reason.DELETED if interval.deleted else Reason(interval.status)
        return FenceState(deployment_id=row.id, ledger_epoch=EPOCH, version=version, reason=reason)

    def _locks(self, host: str) -> list[LockState]:
        """hosts.sql: locks."""
        return [
            LockState(
                device_id=device, lock_version=version, owner=owner, reason="", since=since, expires_at=expires_at
            )
            for device, (version, owner, since, expires_at) in self._ledger.hosts[host].locks.items()
            if owner is not None and since is not None and (expires_at is None or expires_at > self.room.now)
        ]

    def _answered(self, answer: CommandApplied, changes: Changes) -> None:
        """answers.py: apply; hosts.sql: mark_applied."""
        ledger = self._ledger
        parcel = ledger.outbox.get(answer.command_id)
        if parcel is not None and parcel.message.host == answer.host and parcel.applied_at is None:
            parcel.applied_at = self.room.now
            ledger.unanswered.pop(answer.command_id, None)
        if answer.command != Void.type or answer.execution_id is None:
            return
        execution = ledger.executions[answer.execution_id]
        if answer.result is CommandResult.UNKNOWN:
            ledger.write(execution, projection.confirm(execution.row), changes, "void answered unknown")
        elif self.is_unheard(answer, execution):
            ledger.ask_again(answer.host)

    def is_unheard(self, answer: CommandApplied, execution: Execution) -> bool:
        """answers.py: apply; hosts.sql: asked_to_resend."""
        is_held = answer.result is CommandResult.HELD and execution.row.presumed
        return is_held and not self._ledger.is_asked_again(answer.host)

    # dead_letters.py: store.

    def store(self, letters: Sequence[Letter]) -> None:
        """A trigger that died on its way ends its row."""
        ledger, now, changes = self._ledger, self.room.now, Changes()
        presumed: dict[UUID, None] = {}
        for letter in letters:
            if not isinstance(letter.message, Trigger) or letter.death is None:
                continue
            execution = ledger.executions[letter.message.execution_id]
            before = execution.row
            if letter.death[0] == "undeliverable":
                after = projection.never_delivered(before, now)
            else:
                after = projection.presume_missed(before, now, letter.death[0])
            if ledger.write(execution, after, changes, f"a dead letter, {letter.death[0]}") and after.presumed:
                presumed[after.id] = None
        for identity in presumed:
            row = ledger.executions[identity].row
            ledger.enclose(
                Void(
                    command_id=manual_id(now, self.room.entropy()),
                    host=row.host_name,
                    execution_id=row.id,
                    deployment_id=row.deployment_id,
                )
            )

    def asked_for_the_time(self, host: str, host_sent_at: datetime) -> None:
        """presence.py: take_in: the answer to a heartbeat that asks for the time."""
        if self.up_since is not None:
            command_id = manual_id(self.room.now, self.room.entropy())
            self._ledger.enclose(
                Clock(command_id=command_id, host=host, host_sent_at=host_sent_at, db_time=self.room.now)
            )
