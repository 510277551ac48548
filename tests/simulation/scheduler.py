"""Schedulers, all active: they claim, fire, release, drain the outbox and sweep, and die between any two steps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from libs.contracts import LIVE, DeploymentStatus
from libs.schedule.plan import missed, window_seconds
from services.scheduler.release import _why_never
from tests.simulation.broker import Broker
from tests.simulation.drain import Drains
from tests.simulation.ledger import EPOCH, Ledger
from tests.simulation.room import Room
from tests.simulation.rows import Execution
from tests.simulation.sweep import Sweep

SWEEP_SECONDS = 30.0


class Schedulers:
    """All replicas. `alive` holds the number of lives that each has had; one that is away is not in it."""

    def __init__(self, room: Room, ledger: Ledger, broker: Broker, count: int) -> None:
        self._room = room
        self._ledger = ledger
        self.count = count
        self.alive: dict[int, int] = dict.fromkeys(range(count), 0)
        self.is_claiming = True
        """False at the end of a run: what is decided by then is all that is looked at."""
        self.there_since = room.now
        """Since then there is always one of them."""
        self.sweeps = Sweep(room, ledger)
        self._drains = Drains(room, ledger, broker, self.alive, self.dies)
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
        else:
            self._drains.ring(host, delay)

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
        if not self.alive:
            self.there_since = self._room.now
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

    # Looking after what got stuck.

    def _sweep_loop(self) -> None:
        self._room.agenda.after(SWEEP_SECONDS, self._sweep_loop)
        if self.alive:
            self.sweeps.sweep()
            self.release()
        for host, waiting in self._ledger.unpublished.items():
            if waiting:
                self.ring(host)
