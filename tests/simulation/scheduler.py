"""Schedulers, all active: they claim, fire, release, drain the outbox and sweep, and die between any two steps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from libs.contracts import LIVE, Command, DeploymentStatus, ExecutionStatus, Resend, Trigger, Void, manual_id
from libs.contracts.topology import commands_queue, triggers_queue
from libs.schedule.plan import missed, window_seconds
from services.api.core.projection import Row, presume_lost, presume_missed
from services.scheduler.release import _why_never
from tests.simulation.broker import DEAD, Broker, Letter, Receipt
from tests.simulation.ledger import EPOCH, Changes, Execution, Ledger, Parcel
from tests.simulation.room import Room

SWEEP_SECONDS = 30.0
REPUBLISH = timedelta(seconds=60)
OFFLINE = timedelta(seconds=30)
MARGIN_SECONDS = 300.0
KEEP_OUTBOX = timedelta(days=1)


def queue_of(message: Trigger | Command) -> str:
    """Where a message for a host goes."""
    return triggers_queue(message.host) if isinstance(message, Trigger) else commands_queue(message.host)


class Schedulers:
    """All replicas. `alive` holds the number of lives that each has had; one that is away is not in it."""

    def __init__(self, room: Room, ledger: Ledger, broker: Broker, count: int) -> None:
        self._room = room
        self._ledger = ledger
        self._broker = broker
        self.count = count
        self.alive: dict[int, int] = dict.fromkeys(range(count), 0)
        self.is_claiming = True
        """False at the end of a run: what is decided by then is all that is looked at."""
        self._draining: dict[str, tuple[int, int]] = {}
        self._rung: set[str] = set()
        self._look_at: datetime | None = None
        ledger.ring = self.ring

    def begin(self) -> None:
        """The loops."""
        self._look()
        self._room.agenda.after(SWEEP_SECONDS, self._sweep_loop)

    def ring(self, host: str | None) -> None:
        """A NOTIFY: of the outbox, or that something else is due. It may be lost; the loop looks every 5 s anyway."""
        room = self._room
        delay = room.lag() if not room.happens(0.01) else 5.0
        if host is None:
            self._look_by(room.now + timedelta(seconds=delay))
        elif host not in self._rung:
            self._rung.add(host)
            room.agenda.after(delay, self._drain, host)

    def dies(self, number: int) -> bool:
        """Whether the scheduler dies now; another life begins some seconds later."""
        if not self._room.happens(self._room.trouble.scheduler_dies):
            return False
        self.kill(number, self._room.dice.uniform(1, 60))
        return True

    def kill(self, number: int, seconds: float) -> None:
        """Its transactions end, and with them its hold on hosts; what is on its way to the broker is on its way."""
        life = self.alive.pop(number, None)
        if life is None:
            return
        self._room.fault("scheduler died", f"number {number} for {seconds:.1f} s")
        self._room.agenda.after(seconds, self._restart, number, life + 1)

    def _restart(self, number: int, life: int) -> None:
        self.alive[number] = life
        self._look()
        for host in self._ledger.unpublished:
            self.ring(host)

    # Firing.

    def _look_by(self, when: datetime) -> None:
        if self._look_at is None or when < self._look_at or self._look_at <= self._room.now:
            self._look_at = when
            self._room.agenda.at(when, self._look)

    def _look(self) -> None:
        """claim.py: run: whoever comes first claims what is due, then releases and writes missed rows."""
        if not self.alive:
            return
        number = self._room.dice.choice(list(self.alive))
        self._claim()
        if self.dies(number):
            return
        self.release()
        self._write_missed()
        if self.is_claiming:
            due = [each.next_due_at for each in self._ledger.deployments.values() if each.next_due_at is not None]
            when = max(min(due, default=self._room.now + timedelta(hours=1)), self._room.now)
            if self._look_at is None or when < self._look_at or self._look_at <= self._room.now:
                self._look_by(when + timedelta(seconds=self._room.lag()))

    def _claim(self) -> None:
        """claim.sql: claim."""
        now = self._room.now
        if not self.is_claiming:
            return
        for deployment in self._ledger.deployments.values():
            due = deployment.next_due_at
            if due is not None and due <= now and deployment.row.status in LIVE:
                self._ledger.decide_due(deployment)

    def _write_missed(self) -> None:
        """claim.py: write_missed, one bounded step of one backlog."""
        ledger = self._ledger
        if not ledger.backlogs:
            return
        left = ledger.backlogs[0]
        fires, rest = missed(left.backlog, left.expression, left.timezone, now=self._room.now, window=left.window)
        ledger.write_fires(left.deployment, fires)
        if rest is None:
            ledger.backlogs.pop(0)
        else:
            left.backlog = rest
        ledger.ring(None)

    def release(self) -> None:
        """release.py and release.sql: the oldest held fire of each deployment of which nothing else is open."""
        ledger, now = self._ledger, self._room.now
        for deployment in list(ledger.holding.values()):
            held = min((each.row.id for each in deployment.under_way.values() if each.held), default=None)
            row = deployment.row
            if held is None:
                del ledger.holding[row.id]
                continue
            if row.status is DeploymentStatus.PAUSED or self._is_busy(deployment.under_way.values()):
                continue
            reason = _why_never(row, is_deleted=deployment.deleted_at is not None)
            if reason is not None:
                ledger.drop_held(deployment, reason)
                continue
            execution = ledger.executions[held]
            execution.held = False
            window = window_seconds(row.catch_up, row.catch_up_window_seconds)
            execution.not_after = now + timedelta(seconds=window)
            fire = execution.row.fire
            self._room.note("released", execution.row.id)
            ledger.enclose(row.trigger(execution.row.id, fire.kind, fire.scheduled_at, execution.not_after, EPOCH))

    @staticmethod
    def _is_busy(executions: Iterable[Execution]) -> bool:
        return any(not each.held and not each.row.presumed for each in executions)

    # The outbox.

    def _drain(self, host: str) -> None:
        """drain.py: _drain: what is unpublished and not late, in order, by the one who holds the host's shard."""
        self._rung.discard(host)
        holder = self._draining.get(host)
        if not self.alive or (holder is not None and self.alive.get(holder[0]) == holder[1]):
            return
        now = self._room.now
        waiting = self._ledger.unpublished.get(host, {})
        batch = [each for each in waiting.values() if each.not_after is None or each.not_after > now]
        if not batch:
            return
        number = self._room.dice.choice(list(self.alive))
        self._draining[host] = number, self.alive[number]
        groups: dict[str, list[Parcel]] = {}
        for parcel in batch:
            groups.setdefault(queue_of(parcel.message), []).append(parcel)
        for queue, parcels in groups.items():
            self._publish(host, number, self.alive[number], queue, parcels)

    def _publish(self, host: str, number: int, life: int, queue: str, parcels: list[Parcel]) -> None:
        now = self._room.now
        letters = [
            Letter(each.message, None if each.not_after is None else (each.not_after - now).total_seconds())
            for each in parcels
        ]
        self._broker.publish(
            queue, letters, lambda receipts: self._published(host, number, life, queue, parcels, receipts)
        )

    def _published(
        self, host: str, number: int, life: int, queue: str, parcels: list[Parcel], receipts: list[Receipt]
    ) -> None:
        """drain.py: what the broker confirmed is marked, what came back is buried, the rest is tried again."""
        if self.alive.get(number) != life or self.dies(number):
            return
        sent = [p for p, receipt in zip(parcels, receipts, strict=True) if self.is_sent(receipt)]
        returned = [p for p, receipt in zip(parcels, receipts, strict=True) if receipt is Receipt.RETURNED]
        if returned and self._broker.is_declared:
            for parcel in returned:
                why = "returned" if parcel.attempts else "undeliverable"
                self._broker.queues[DEAD].put(Letter(parcel.message, death=(why, "")))
                if not isinstance(parcel.message, Trigger):
                    self._broker.lost(Letter(parcel.message))  # nobody sends it again
            sent += returned
        self._ledger.mark_published(sent)
        out = set(map(id, sent))
        for parcel in parcels:
            if id(parcel) not in out:
                parcel.attempts += 1
        self._draining.pop(host, None)
        if self._ledger.unpublished.get(host):
            self.ring(host)

    @staticmethod
    def is_sent(receipt: Receipt) -> bool:
        """Whether the broker has it for certain."""
        return receipt is Receipt.CONFIRMED

    # Looking after what got stuck.

    def _sweep_loop(self) -> None:
        self._room.agenda.after(SWEEP_SECONDS, self._sweep_loop)
        if self.alive:
            self._sweep()
            self.release()
        for host, waiting in self._ledger.unpublished.items():
            if waiting:
                self.ring(host)

    def _sweep(self) -> None:
        """sweep.py: sweep."""
        self._end_late()
        self._presume_missed()
        self._presume_lost()
        self._republish()

    def _end_late(self) -> None:
        """sweep.sql: late and end_late."""
        ledger, now = self._ledger, self._room.now
        for waiting in ledger.unpublished.values():
            late = [each for each in waiting.values() if each.not_after is not None and each.not_after <= now]
            for parcel in late:
                assert isinstance(parcel.message, Trigger)
                parcel.published_at = now
                del waiting[parcel.id]
                execution = ledger.executions[parcel.message.execution_id]
                if execution.row.status is ExecutionStatus.TRIGGERED:
                    self._presume(execution, presume_missed(execution.row, now, "late"), "end_late")

    def _presume_missed(self) -> None:
        """sweep.sql: presume_missed."""
        ledger, now = self._ledger, self._room.now
        if not ledger.is_listening():
            return
        for execution in list(ledger.open.values()):
            until, row = execution.not_after, execution.row
            if row.status is not ExecutionStatus.TRIGGERED or execution.held or until is None:
                continue
            if until + timedelta(seconds=30) < now and (
                not self._is_online(row.host_name) or until + timedelta(minutes=5) < now
            ):
                self._presume(execution, presume_missed(row, now, "not reported"), "presume_missed")

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

    def _presume_lost(self) -> None:
        """sweep.sql: presume_lost, and sweep.py: _ask_again."""
        ledger, now = self._ledger, self._room.now
        if not ledger.is_listening():
            return
        asked: dict[str, None] = {}
        for execution in list(ledger.open.values()):
            row = execution.row
            if row.status not in {ExecutionStatus.QUEUED, ExecutionStatus.RUNNING}:
                continue
            wait = ledger.deployments[row.deployment_id].row.max_wait_seconds
            seconds = execution.timeout_seconds + MARGIN_SECONDS
            seconds += wait if row.status is ExecutionStatus.QUEUED else 0
            since = row.times.started_at or row.times.queued_at or row.fire.decided_at
            if since + timedelta(seconds=seconds) < now:
                ledger.write(execution, presume_lost(row, now), Changes(), "presume_lost")
                if self._is_online(row.host_name):
                    asked[row.host_name] = None
        for host in asked:
            ledger.enclose(Resend(command_id=manual_id(now, self._room.entropy()), host=host))

    def _republish(self) -> None:
        """sweep.sql: republish."""
        ledger, now = self._ledger, self._room.now
        for execution in ledger.open.values():
            if execution.row.status is not ExecutionStatus.TRIGGERED or execution.held:
                continue
            parcel = ledger.outbox.get(execution.row.id)
            if parcel is None or parcel.published_at is None or parcel.not_after is None or parcel.not_after <= now:
                continue
            patience = min(REPUBLISH, (parcel.not_after - parcel.published_at) / 2)
            if parcel.published_at + patience < now and self._is_online(execution.row.host_name):
                self._room.history.traffic["republished"] += 1
                ledger.publish_again(parcel)

    def _is_online(self, host: str) -> bool:
        seen = self._ledger.last_seen(host)
        return seen is not None and seen > self._room.now - OFFLINE

    def keep_house(self) -> None:
        """sweep.sql: forget_outbox."""
        outbox, now = self._ledger.outbox, self._room.now
        for identity, parcel in list(outbox.items()):
            if parcel.created_at > now - KEEP_OUTBOX:
                break
            if parcel.published_at is None or parcel.published_at > now - KEEP_OUTBOX:
                continue
            execution = self._ledger.executions.get(identity)
            if execution is None or execution.row.status is not ExecutionStatus.TRIGGERED:
                del outbox[identity]
