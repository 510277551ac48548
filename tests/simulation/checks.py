"""The invariants, watched while things happen: scripts, devices, words, rows, counts.

The book here is the truth about the world (what really ran, what a host said), whatever ledger and hosts believe.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from libs.contracts import OPEN, Command, ExecutionStatus, Trigger, reachable
from services.api.core.projection import Row
from services.host_runner.core.vocabulary import Cancelled, Finished, Report, Skipped
from services.host_runner.journal import KEEP_DECIDED
from tests.simulation.room import Room


class BrokenError(AssertionError):
    """An invariant does not hold. `about`: the execution or deployment concerned."""

    def __init__(self, invariant: str, sentence: str, about: UUID | None = None) -> None:
        super().__init__(f"{invariant}: {sentence}")
        self.invariant = invariant
        self.about = about


LEAST_PATIENCE_SECONDS = 5.0
"""A broker that lost its data is waited for at least so long: ten seconds, less what a confirm may take."""

Word = tuple[ExecutionStatus, str | None]
"""How a host said that an execution ended: status and reason."""


class Checks:
    """Raises `BrokenError` at the moment at which something is wrong."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.live: dict[tuple[str, str], UUID] = {}
        """Process trees: whose is on each (host, device)."""
        self.live_of: dict[UUID, UUID] = {}
        """By deployment."""
        self.started: Counter[UUID] = Counter()
        """How often the script of each execution was started."""
        self.attempts: defaultdict[UUID, set[UUID]] = defaultdict(set)
        """What its host admitted, of each deployment."""
        self.words: dict[UUID, Word] = {}
        """The last word of a host about each execution that ended."""
        self.said_at: dict[UUID, datetime] = {}
        """When it said so."""
        self.given_up: dict[UUID, tuple[str, str]] = {}
        """Executions that a host promised never to start: which host, and in answer to what."""
        self.fences: dict[tuple[str, UUID], tuple[int, int]] = {}
        self.forgotten: set[UUID] = set()
        """Executions (and answers to commands) that were lost with a journal: the one exception that the architecture
        names.
        """
        self.is_unsettled: Callable[[UUID], bool] = lambda _: True
        """Whether the ledger lacks the host's last word about an execution, or a trigger of it may still come."""
        self.on_missed: Callable[[Row], None] = lambda _: None
        """A trigger is given up."""
        self.ran_again: Counter[UUID] = Counter()
        """Of them, those whose script was started again."""
        self.limits_lowered: set[UUID] = set()
        """Deployments whose limit was lowered so far that what was under way could pass it: their host is told, and
        what it has admitted before it hears of it counts all the same.
        """

    def broken(self, invariant: str, sentence: str, about: UUID | None = None) -> BrokenError:
        """To be raised."""
        return BrokenError(invariant, f"{sentence} (at {self._room.now.isoformat()})", about)

    def admitted(self, host: str, trigger: Trigger) -> None:
        """A host gives a run its device."""
        identity, deployment = trigger.execution_id, trigger.deployment_id
        fence = self.fences.get((host, deployment))
        if fence is not None and (trigger.ledger_epoch, trigger.version) < fence:
            raise self.broken("I1", f"{identity} is admitted although its host has acknowledged the fence", identity)
        if identity in self.given_up:
            raise self.broken("I4", f"{identity} is admitted, but was given up: {self.given_up[identity][1]}", identity)
        self.attempts[deployment].add(identity)

    def script_starts(self, host: str, trigger: Trigger) -> None:
        """A script's process exists."""
        identity, place = trigger.execution_id, (host, trigger.device_id)
        if self.started[identity]:
            if identity not in self.forgotten:
                raise self.broken("I6", f"the script of {identity} is started a second time", identity)
            self.ran_again[identity] += 1
        self.started[identity] += 1
        if place in self.live:
            raise self.broken("I3", f"{identity} starts on {place}, where {self.live[place]} lives", identity)
        if trigger.deployment_id in self.live_of:
            other = self.live_of[trigger.deployment_id]
            raise self.broken("I2", f"{identity} starts while {other} of its deployment runs", identity)
        self.live[place] = identity
        self.live_of[trigger.deployment_id] = identity

    def tree_is_gone(self, host: str, trigger: Trigger) -> None:
        """Nothing of the script lives any more."""
        if self.live.get((host, trigger.device_id)) == trigger.execution_id:
            del self.live[host, trigger.device_id]
            del self.live_of[trigger.deployment_id]

    def said(self, report: Report) -> None:
        """A host decided that something is over: it has said so in its journal."""
        if not report.is_last:
            return
        match report.word:
            case Finished(outcome):
                word: Word = outcome.status, outcome.reason
            case Skipped(reason):
                word = ExecutionStatus.SKIPPED, reason
            case Cancelled():
                word = ExecutionStatus.CANCELLED, "cancelled_by_user"
            case _:
                return
        identity = report.run.id
        is_old = report.run.trigger.not_after + KEEP_DECIDED < self._room.now
        if identity in self.words and is_old and word[0] is ExecutionStatus.SKIPPED:
            return  # a copy that came after the host may forget the id: refused, and its first word stands
        if identity in self.words and identity not in self.forgotten:
            raise self.broken("I4", f"the host says twice how {identity} ended", identity)
        self.words[identity] = word
        self.said_at[identity] = self._room.now

    def row_moved(self, before: Row, after: Row) -> None:
        """The ledger changes a row."""
        if before.status is ExecutionStatus.TRIGGERED and after.presumed:
            self.on_missed(after)
        if before.status not in OPEN and not before.presumed and before.status is not after.status:
            raise self.broken("I4", f"{before.id} had ended {before.status} and becomes {after.status}", before.id)
        onward = after.status is before.status or before.presumed or after.status in reachable(before.status)
        if not onward and not after.presumed:
            raise self.broken("I4", f"{before.id} goes back from {before.status} to {after.status}", before.id)
        if after.status in OPEN and after.presumed:
            raise self.broken("I4", f"{before.id} is {after.status} and presumed to have ended", before.id)

    def counted(self, deployment: UUID, count: int, limit: int | None) -> None:
        """The ledger counts what a deployment's executions came to."""
        if limit is None or deployment in self.limits_lowered:
            return
        if count > limit:
            raise self.broken("I5", f"{deployment} counts {count} executions, its limit is {limit}", deployment)

    def gave_up(self, message: Trigger | Command, seconds: float) -> None:
        """A message goes to the dead letters because it has had no queue for so long."""
        if seconds < LEAST_PATIENCE_SECONDS:
            raise self.broken("I1", f"{message!r} is given up after {seconds:.1f} s without a queue")

    def disk_lost(self, host: str, decided: set[UUID], answered: set[UUID]) -> None:
        """What this host remembered is gone; nothing that it promised binds it any more. Of what it had decided, the
        exception covers only what the ledger does not know from the host, and triggers of which a copy is on its way.
        """
        self.forgotten |= {identity for identity in sorted(decided) if self.is_unsettled(identity)}
        self.forgotten |= answered
        self.fences = {key: mark for key, mark in self.fences.items() if key[0] != host}
        self.given_up = {key: given for key, given in self.given_up.items() if given[0] != host}
        self._room.fault("disk lost", f"{host} with {len(decided)} executions")
