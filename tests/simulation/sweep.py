"""Looking after what got stuck, as `services/scheduler/sweep.py` with `services/scheduler/sql/sweep.sql`.

The decisions are SQL in the product; each method here names the query that it follows.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from libs.contracts import Cancel, ExecutionStatus, Fence, Lock, Resend, Unlock, Void, manual_id
from services.api.core.projection import Row, presume_lost, presume_missed
from tests.simulation.ledger import Ledger
from tests.simulation.room import Room
from tests.simulation.rows import Changes, Execution, Parcel

REPUBLISH_SECONDS = 60.0
OFFLINE = timedelta(seconds=30)
MARGIN_SECONDS = 300.0
KEEP_OUTBOX = timedelta(days=1)
ANSWERED = (Fence, Cancel, Void, Lock, Unlock, Resend)
"""What is sent again until its host has answered. A sync is not: each connection's hello brings another."""


class Sweep:
    """One look at everything; which scheduler it is makes no difference."""

    def __init__(self, room: Room, ledger: Ledger) -> None:
        self._room = room
        self._ledger = ledger
        self._online: frozenset[str] = frozenset()

    def sweep(self) -> None:
        """sweep.py: sweep."""
        ledger = self._ledger
        self._online = frozenset(filter(self._is_online, ledger.hosts))
        self._end_late()
        is_listening = ledger.is_listening()
        asked: dict[str, None] = {}
        unsaid: dict[str, None] = {}
        for execution in list(ledger.open.values()):
            host = execution.row.host_name
            if execution.row.status is ExecutionStatus.TRIGGERED:
                parcel = ledger.outbox.get(execution.row.id)
                if is_listening and self.is_missed(execution):
                    after = presume_missed(execution.row, self._room.now, "not reported")
                    self._presume(execution, after, "presume_missed")
                elif not execution.held and parcel is not None and self.is_to_be_sent_again(parcel):
                    ledger.publish_again(parcel)
            elif is_listening and self.is_lost(execution):
                ledger.write(execution, presume_lost(execution.row, self._room.now), Changes(), "presume_lost")
                if host in self._online:
                    asked[host] = None
            elif self.is_unsaid(execution):
                unsaid[host] = None
        for parcel in list(ledger.unanswered.values()):
            if self.is_command_to_be_sent_again(parcel):
                ledger.publish_again(parcel)
        for host in asked:
            ledger.ask_again(host)
        for host in unsaid:
            if not ledger.was_asked_again(host, 10 * REPUBLISH_SECONDS):
                ledger.ask_again(host)

    def _end_late(self) -> None:
        """sweep.sql: late and end_late."""
        ledger, now = self._ledger, self._room.now
        for waiting in ledger.unpublished.values():
            late = [each for each in waiting.values() if each.not_after is not None and each.not_after <= now]
            for parcel in late:
                parcel.published_at = now
                del waiting[parcel.id]
                execution = ledger.executions[parcel.id]
                if execution.row.status is ExecutionStatus.TRIGGERED:
                    self._presume(execution, presume_missed(execution.row, now, "late"), "end_late")

    def is_missed(self, execution: Execution) -> bool:
        """sweep.sql: presume_missed."""
        until, now = execution.not_after, self._room.now
        if execution.held or until is None or until + timedelta(seconds=30) >= now:
            return False
        return execution.row.host_name not in self._online or until + timedelta(minutes=5) < now

    def is_lost(self, execution: Execution) -> bool:
        """sweep.sql: presume_lost."""
        row = execution.row
        seconds = execution.timeout_seconds + MARGIN_SECONDS
        if row.status is ExecutionStatus.QUEUED:
            seconds += self._ledger.deployments[row.deployment_id].row.max_wait_seconds
        return _since(row) + timedelta(seconds=seconds) < self._room.now

    def is_unsaid(self, execution: Execution) -> bool:
        """sweep.sql: unsaid, but for how often a host is asked."""
        row = execution.row
        if row.host_name not in self._online or _since(row) + timedelta(seconds=REPUBLISH_SECONDS) >= self._room.now:
            return False
        device = self._ledger.device(row.host_name, execution.device_id)
        return device is not None and device.execution_id != row.id and row.id not in device.pending

    def is_to_be_sent_again(self, parcel: Parcel) -> bool:
        """sweep.sql: republish; its caller looks at the execution's row."""
        sent, until, now = parcel.published_at, parcel.not_after, self._room.now
        if sent is None or until is None or until <= now or parcel.message.host not in self._online:
            return False
        return sent + min(_patience(parcel), (until - sent) / 2) < now

    def is_command_to_be_sent_again(self, parcel: Parcel) -> bool:
        """sweep.sql: republish_commands."""
        sent = parcel.published_at
        if sent is None or not isinstance(parcel.message, ANSWERED) or parcel.message.host not in self._online:
            return False
        return sent + _patience(parcel) < self._room.now

    def _presume(self, execution: Execution, after: Row, why: str) -> None:
        """sweep.py: _presumed, with the question to the host."""
        self._ledger.write(execution, after, Changes(), why)
        self._ledger.enclose(
            Void(
                command_id=manual_id(self._room.now, self._room.entropy()),
                host=after.host_name,
                execution_id=after.id,
                deployment_id=after.deployment_id,
            )
        )

    def _is_online(self, host: str) -> bool:
        seen = self._ledger.last_seen(host)
        return seen is not None and seen > self._room.now - OFFLINE

    def keep_house(self) -> None:
        """sweep.sql: forget_outbox."""
        ledger, now = self._ledger, self._room.now
        for identity, parcel in list(ledger.outbox.items()):
            if parcel.created_at > now - KEEP_OUTBOX:
                break
            if parcel.published_at is None or parcel.published_at > now - KEEP_OUTBOX:
                continue
            execution = ledger.executions.get(identity)
            if execution is None or execution.row.status is not ExecutionStatus.TRIGGERED:
                del ledger.outbox[identity]
                ledger.unanswered.pop(identity, None)


def _since(row: Row) -> datetime:
    """coalesce(started_at, queued_at, decided_at)."""
    return row.times.started_at or row.times.queued_at or row.fire.decided_at


def _patience(parcel: Parcel) -> timedelta:
    """How long an answer is waited for: each time about twice as long as the time before."""
    assert parcel.published_at is not None
    first = REPUBLISH_SECONDS * (5 if isinstance(parcel.message, Resend) else 1)
    return max(timedelta(seconds=first), parcel.published_at - parcel.created_at)
