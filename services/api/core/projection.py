"""How facts move a row of the ledger. Pure: everything that an execution's row can become by a host's word is here.

The rules, so that repeated, late and reordered facts are boring:

- A fact that is further on (`libs/contracts/statuses.py`) moves the row: its status and its outcome, whole, and every
  time that it carries. What is further on carries all that was before it, so the end is the same in any order.
- A fact that is not further on only fills in times that the row lacks.
- A presumed ending gives way to every word of the host but a repetition of what was known before it was presumed.
- The first ending stands. Another one by another fact changes nothing and is told apart (`repeats`), since the host
  must have run an id twice, or lost count of what it said.
- Nothing is ever refused here. Times become database time where the host knew its offset, else stay as it said them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from libs.contracts import (
    LIVE,
    SENTENCES,
    AnyFact,
    DeploymentStatus,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    Kind,
    Reason,
    may_follow,
)
from libs.contracts.statuses import OPEN

_S = ExecutionStatus

_LARGEST_SEQUENCE = 2**63 - 1
"""What the ledger's column holds. No host counts so far, and a fact is not refused for its number."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Which fact it was: the same for every repetition of it (`message_id` is journal and sequence)."""

    journal_id: UUID
    sequence: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What goes with a status and is replaced with it, whole."""

    completed_at: datetime | None = None
    reason: Reason | None = None
    skip_reason: str | None = None
    error_message: str | None = None
    success: bool | None = None
    exit_code: int | None = None
    signal: str | None = None
    duration_seconds: float | None = None
    script_result_id: UUID | None = None
    log_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """When it was received, queued, admitted and started, in UTC; each may still be unknown."""

    received_at: datetime | None = None
    queued_at: datetime | None = None
    admitted_at: datetime | None = None
    started_at: datetime | None = None

    def or_else(self, other: Times) -> Times:
        """These, and `other`'s where these are unknown."""
        return Times(
            self.received_at or other.received_at,
            self.queued_at or other.queued_at,
            self.admitted_at or other.admitted_at,
            self.started_at or other.started_at,
        )


@dataclass(frozen=True, slots=True)
class Fire:
    """What the centre did before the host; no fact moves it. `published_at` may still be unknown here: the confirms of
    a batch are written down together, and its first messages may have been received before.
    """

    kind: Kind
    scheduled_at: datetime
    decided_at: datetime
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An execution's row, as far as facts move it, and the fire that it came from."""

    id: UUID
    deployment_id: UUID
    team_id: UUID
    host_name: str
    status: ExecutionStatus
    fire: Fire
    presumed: bool = False
    times: Times = Times()
    outcome: Outcome = Outcome()
    ended_by: Mark | None = None
    """The host's fact that ended it; None while no host did, or if that was never written down."""

    @property
    def start_is_timed(self) -> bool:
        """Whether its lateness can be told: it has started, and its host knew its clock's offset."""
        return self.times.started_at is not None and self.times.received_at is not None

    @property
    def counts(self) -> bool:
        """Whether it is one of the deployment's executions: ended after a start, or after the attempt of one.

        A presumed ending keeps its place in the limit (`in_flight`) but is not counted before the host reports: a
        deployment that completed by a presumption could not come back.
        """
        if self.presumed:
            return False
        if self.status is _S.CANCELLED:
            return self.times.started_at is not None
        return self.status in {_S.COMPLETED, _S.FAILED}


def merge(row: Row, fact: AnyFact) -> Row:
    """The row after `fact`; the same row (equal) when the fact says nothing new."""
    times = _times(fact)
    if not _is_further_on(row, status_of(fact)):
        filled = replace(row.times.or_else(times), received_at=row.times.received_at)
        return replace(row, times=filled)
    # `received_at` says whether the host knew its clock's offset: it goes with the status, whole.
    known = replace(times.or_else(row.times), received_at=times.received_at)
    status = status_of(fact)
    ended_by = None if status in OPEN else mark(fact)
    return replace(row, status=status, presumed=False, times=known, outcome=_outcome(fact), ended_by=ended_by)


def mark(fact: AnyFact) -> Mark:
    """Which fact this is."""
    return Mark(fact.journal_id, min(fact.sequence, _LARGEST_SEQUENCE))


def repeats(row: Row, fact: AnyFact) -> bool:
    """Whether `fact` ends what its host has ended already by another fact. A repetition of the same one does not."""
    return row.ended_by is not None and status_of(fact) not in OPEN and mark(fact) != row.ended_by


def presume_lost(row: Row, now: datetime) -> Row:
    """What the host had taken is given up; its word still counts, should it come. `now` in database time."""
    message = SENTENCES[Reason.HOST_LOST]
    outcome = Outcome(completed_at=now, reason=Reason.HOST_LOST, error_message=message, success=False)
    return replace(row, status=_S.FAILED, presumed=True, outcome=outcome)


def presume_missed(row: Row, now: datetime, message: str) -> Row:
    """The broker gave its trigger up, which does not tell whether the host has it. Only a `triggered` row changes."""
    if row.status is not _S.TRIGGERED:
        return row
    outcome = Outcome(completed_at=now, reason=Reason.MISSED, skip_reason=message)
    return replace(row, status=_S.SKIPPED, presumed=True, outcome=outcome)


def never_delivered(row: Row, now: datetime) -> Row:
    """Its trigger came back from the broker: nobody has it, so this is final. Only a `triggered` row changes."""
    if row.status is not _S.TRIGGERED:
        return row
    message = SENTENCES[Reason.UNDELIVERABLE]
    outcome = Outcome(completed_at=now, reason=Reason.UNDELIVERABLE, skip_reason=message)
    return replace(row, status=_S.SKIPPED, presumed=False, outcome=outcome)


def confirm(row: Row) -> Row:
    """The host says that it never had the trigger and never will: the presumption becomes final."""
    return replace(row, presumed=False) if row.status is _S.SKIPPED else row


@dataclass(frozen=True, slots=True)
class Tally:
    """What a deployment's executions came to. `completes`: the limit is reached by it."""

    execution_count: int
    completes: bool


def tally(status: DeploymentStatus, execution_count: int, max_executions: int | None, newly_counted: int) -> Tally:
    """The count after `newly_counted` more (fewer, when a presumed failure turned out not to be one)."""
    count = max(execution_count + newly_counted, 0)
    return Tally(count, status in LIVE and max_executions is not None and count >= max_executions)


def _is_further_on(row: Row, following: ExecutionStatus) -> bool:
    if row.presumed and following in OPEN:
        # A host that really goes on says something that was not known before; "started" again is only a repetition,
        # and would leave open for ever what was given up.
        return may_follow(_known_before(row), following, presumed=False)
    return may_follow(row.status, following, presumed=row.presumed)


def _known_before(row: Row) -> ExecutionStatus:
    """How far the host's own word had brought a row that was then presumed to have ended."""
    if row.times.started_at is not None:
        return _S.RUNNING
    return _S.QUEUED if row.times.queued_at is not None else _S.TRIGGERED


def status_of(fact: AnyFact) -> ExecutionStatus:
    """What an execution is by this fact."""
    match fact:
        case ExecutionQueued():
            return _S.QUEUED
        case ExecutionSkipped():
            return _S.SKIPPED
        case ExecutionStarted():
            return _S.RUNNING
        case ExecutionFinished():
            return fact.status
        case _:
            assert_never(fact)


def _times(fact: AnyFact) -> Times:
    # Without an offset the host's parts of the lateness mean nothing: what is not there is shown as unknown.
    received_at = None if fact.clock_offset_seconds is None else _in_database_time(fact, fact.received_at)
    match fact:
        case ExecutionQueued():
            return Times(received_at, _in_database_time(fact, fact.at))
        case ExecutionSkipped():
            return Times(received_at, _in_database_time(fact, fact.queued_at))
        case ExecutionStarted() | ExecutionFinished():
            return Times(
                received_at,
                _in_database_time(fact, fact.queued_at),
                _in_database_time(fact, fact.admitted_at),
                _in_database_time(fact, fact.started_at),
            )
        case _:
            assert_never(fact)


def _outcome(fact: AnyFact) -> Outcome:
    match fact:
        case ExecutionQueued():
            return Outcome(reason=fact.reason)
        case ExecutionStarted():
            return Outcome()
        case ExecutionSkipped():
            # This one sentence is promised to outside programs, word for word.
            message = SENTENCES[fact.reason] if fact.reason is Reason.ALREADY_QUEUED else fact.message
            return Outcome(
                completed_at=_in_database_time(fact, fact.at),
                reason=fact.reason,
                skip_reason=message or SENTENCES[fact.reason],
            )
        case ExecutionFinished():
            return _ended(fact)
        case _:
            assert_never(fact)


def _ended(fact: ExecutionFinished) -> Outcome:
    outcome = Outcome(
        completed_at=_in_database_time(fact, fact.completed_at),
        reason=fact.reason,
        success=fact.success,
        exit_code=fact.exit_code,
        signal=fact.signal,
        duration_seconds=fact.duration_seconds,
        script_result_id=fact.script_result_id,
        log_bytes=fact.log_bytes,
    )
    match fact.status:
        case ExecutionStatus.FAILED:
            sentence = fact.message or (SENTENCES[fact.reason] if fact.reason else None)
            return replace(outcome, error_message=sentence)
        case ExecutionStatus.CANCELLED:
            return replace(outcome, reason=fact.reason or Reason.CANCELLED_BY_USER)
        case ExecutionStatus.COMPLETED:
            # What is worth a word although all is well, such as that its output was capped.
            return replace(outcome, error_message=fact.message)
        case _:
            assert_never(fact.status)


def _in_database_time(fact: AnyFact, at: datetime | None) -> datetime | None:
    if at is None or fact.clock_offset_seconds is None:
        return at
    return at + timedelta(seconds=fact.clock_offset_seconds)
