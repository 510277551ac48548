"""The ledger: deployments, executions and the outbox in memory, with the rules of the statements that it stands for.

Each method is one statement or one transaction; the simulator is single-threaded, so row locks need no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import (
    OPEN,
    CatchUp,
    Clock,
    Command,
    DeploymentStatus,
    DeviceState,
    ExecutionStatus,
    Kind,
    Reason,
    Resend,
    Sync,
    Trigger,
    fire_id,
    manual_id,
)
from libs.invariants.fires import Interval
from libs.ledger.rows import DeploymentRow
from libs.schedule.plan import Backlog, Decision, Fire, decide, window_seconds
from services.api.core import projection
from services.api.core.projection import Outcome, Row
from tests.simulation.checks import Checks
from tests.simulation.room import Room
from tests.simulation.rows import Changes, Deployment, Execution, HostRow, Left, Parcel

EPOCH = 1
"""The ledger's epoch: no restore is simulated."""


class Ledger:
    """The tables. `ring` tells schedulers that the outbox has news of a host (None: that something else is due)."""

    def __init__(self, room: Room, checks: Checks) -> None:
        self.room = room
        self.checks = checks
        self.deployments: dict[UUID, Deployment] = {}
        self.executions: dict[UUID, Execution] = {}
        self.open: dict[UUID, Execution] = {}
        self.hosts: dict[str, HostRow] = {}
        self.outbox: dict[UUID, Parcel] = {}
        self.unpublished: dict[str, dict[UUID, Parcel]] = {}
        self.unanswered: dict[UUID, Parcel] = {}
        """Commands that a host is to answer and has not."""
        self._asked_again_at: dict[str, datetime] = {}
        self.backlogs: list[Left] = []
        self.holding: dict[UUID, Deployment] = {}
        """Deployments that may have something held."""
        self.fires = 0
        self.ring: Callable[[str | None], None] = lambda _: None
        self.last_seen: Callable[[str], datetime | None] = lambda _: None
        self.device: Callable[[str, str], DeviceState | None] = lambda *_: None
        """What a device does, by its host's last heartbeat."""
        self.is_listening: Callable[[], bool] = lambda: True

    # The outbox.

    def enclose(self, message: Trigger | Command) -> None:
        """decisions.sql: insert_outbox (on conflict do nothing), and the notify after it."""
        parcel = Parcel(message, self.room.now)
        if parcel.id not in self.outbox:
            self.outbox[parcel.id] = parcel
            if not isinstance(message, Trigger | Clock | Sync):
                self.unanswered[parcel.id] = parcel
            self.unpublished.setdefault(message.host, {})[parcel.id] = parcel
            self.ring(message.host)

    def publish_again(self, parcel: Parcel) -> None:
        """UPDATE outbox SET published_at = NULL."""
        parcel.published_at = None
        kind = "trigger" if isinstance(parcel.message, Trigger) else "command"
        self.room.history.traffic[f"{kind}s sent again"] += 1
        waiting = self.unpublished.setdefault(parcel.message.host, {})
        waiting[parcel.id] = parcel
        self.ring(parcel.message.host)

    def was_asked_again(self, host: str, seconds: float) -> bool:
        """sweep.sql: unsaid: whether a resend is under way, or was in the last so many seconds."""
        at = self._asked_again_at.get(host)
        is_lately = at is not None and at > self.room.now - timedelta(seconds=seconds)
        return is_lately or self.is_asked_again(host)

    def is_asked_again(self, host: str) -> bool:
        """hosts.sql: asked_to_resend: whether a resend is under way."""
        return any(isinstance(each.message, Resend) and each.message.host == host for each in self.unanswered.values())

    def ask_again(self, host: str) -> None:
        """sweep.py and answers.py: _ask_again."""
        self.room.history.traffic["hosts asked again"] += 1
        self.room.note("asked again", None, host)
        self._asked_again_at[host] = self.room.now
        self.enclose(Resend(command_id=manual_id(self.room.now, self.room.entropy()), host=host))

    def mark_published(self, parcels: Iterable[Parcel]) -> None:
        """outbox.sql: mark_published."""
        for parcel in parcels:
            parcel.published_at = self.room.now
            parcel.attempts += 1
            self.unpublished[parcel.message.host].pop(parcel.id, None)
            if isinstance(parcel.message, Trigger):
                execution = self.executions[parcel.message.execution_id]
                execution.published_at = execution.published_at or self.room.now

    # Firing.

    def in_flight(self, deployment: Deployment) -> int:
        """decisions.sql: in_flight; of deployments with a limit only, as `decisions.in_flight`."""
        return 0 if deployment.row.max_executions is None else len(deployment.under_way)

    def held(self, deployment: Deployment) -> int:
        """decisions.sql: held; of deployments that catch up with `all` only."""
        if deployment.row.catch_up is not CatchUp.ALL:
            return 0
        return sum(each.held for each in deployment.under_way.values())

    def decide_due(self, deployment: Deployment) -> None:
        """decisions.decide_due and decisions.write: what is due, its rows, and where the deployment goes."""
        now = self.room.now
        decision = decide(deployment.row.plan(), now, self.in_flight(deployment), self.held(deployment))
        self.write_fires(deployment, decision.fires)
        self._move_on(deployment, decision)
        if decision.backlog is not None:
            self.write_backlog(deployment, decision.backlog)

    def _move_on(self, deployment: Deployment, decision: Decision) -> None:
        """decisions.sql: move_on and insert_versions."""
        row = deployment.row
        if decision.status is None:
            deployment.row = replace(row, next_fire_at=decision.next_fire_at)
        else:
            deployment.row = replace(
                row, next_fire_at=decision.next_fire_at, status=decision.status, version=row.version + 1
            )
            deployment.updated_at = self.room.now
            self.room.note(f"deployment {decision.status}", row.id)
            self.write_version(deployment)
        deployment.next_due_at = decision.next_due_at

    def write_version(self, deployment: Deployment) -> None:
        """decisions.sql: insert_versions."""
        row = deployment.row
        deployment.intervals.append(
            Interval(
                deployment.updated_at,
                row.counted_from,
                row.cron_expression,
                row.timezone,
                row.start_date,
                row.end_date,
                row.status,
                deployment.deleted_at is not None,
            )
        )

    def write_backlog(self, deployment: Deployment, backlog: Backlog) -> None:
        """decisions.sql: insert_backlogs."""
        row = deployment.row
        window = window_seconds(row.catch_up, row.catch_up_window_seconds)
        self.backlogs.append(Left(deployment, row.cron_expression, row.timezone, window, backlog))

    def write_fires(self, deployment: Deployment, fires: Sequence[Fire]) -> None:
        """decisions.write_fires: insert_executions (on conflict do nothing) and the triggers of what is new."""
        for fire in fires:
            identity = fire_id(deployment.row.id, fire.scheduled_at)
            if identity in self.executions:
                continue
            self.fires += 1
            self.insert(deployment, identity, fire.kind, fire.scheduled_at, fire.not_after, fire.reason, held=fire.held)
            if fire.reason is None and not fire.held:
                row = deployment.row
                self.enclose(row.trigger(identity, fire.kind, fire.scheduled_at, fire.not_after, EPOCH))

    def insert(
        self,
        deployment: Deployment,
        identity: UUID,
        kind: Kind,
        scheduled_at: datetime,
        not_after: datetime | None,
        reason: Reason | None,
        *,
        held: bool = False,
        by_host: bool = False,
    ) -> Execution:
        """decisions.sql: insert_executions, of one."""
        row, now = deployment.row, self.room.now
        status, outcome = ExecutionStatus.TRIGGERED, Outcome()
        if reason is not None:
            status, outcome = ExecutionStatus.SKIPPED, Outcome(completed_at=now, reason=reason)
        execution = Execution(
            Row(
                identity, row.id, row.team_id, row.host_name, status,
                projection.Fire(kind, scheduled_at, scheduled_at if by_host else now), outcome=outcome,
            ),
            row.version,
            row.device_id,
            row.timeout_seconds,
            not_after=None if held else not_after,
            held=held,
            by_host=by_host,
        )  # fmt: skip
        if held:
            self.holding[row.id] = deployment
        self.executions[identity] = execution
        deployment.executions[identity] = execution
        self._index(deployment, execution)
        detail = f"{status} {reason or ''}" + (" held" if held else "")
        self.room.note("row", identity, f"of {row.name} {kind} {detail}".rstrip())
        return execution

    def _index(self, deployment: Deployment, execution: Execution) -> None:
        identity, row = execution.row.id, execution.row
        is_open = row.status in OPEN
        if is_open:
            self.open[identity] = execution
        else:
            self.open.pop(identity, None)
        if is_open or row.presumed:
            deployment.under_way[identity] = execution
        else:
            deployment.under_way.pop(identity, None)

    # Folding.

    def write(self, execution: Execution, after: Row, changes: Changes, why: str) -> bool:
        """executions.sql: update_executions, of one row, with what `executions.write` counts; whether it changed."""
        before = execution.row
        if after == before:
            return False
        self.checks.row_moved(before, after)
        execution.row = after
        execution.said_nothing = {}
        execution.held = execution.held and after.status is ExecutionStatus.TRIGGERED
        deployment = self.deployments[after.deployment_id]
        self._index(deployment, execution)
        word = f"{after.status}{' presumed' if after.presumed else ''} {after.outcome.reason or ''}".rstrip()
        self.room.note("row", after.id, f"{word} by {why}")
        counted = int(after.counts) - int(before.counts)
        if counted:
            changes.newly_counted[after.deployment_id] += counted
        ended_at = after.outcome.completed_at
        if after.counts and ended_at is not None:
            latest = changes.last_executed_at.get(after.deployment_id)
            changes.last_executed_at[after.deployment_id] = ended_at if latest is None else max(latest, ended_at)
        return True

    def settle(self, changes: Changes) -> None:
        """deployments.py: settle: count, and complete what reaches its limit, its due fires decided first."""
        for identity in sorted(changes.newly_counted.keys() | changes.last_executed_at.keys()):
            deployment = self.deployments[identity]
            row, more = deployment.row, changes.newly_counted[identity]
            tallied = projection.tally(row.status, row.execution_count, row.max_executions, more)
            deployment.row = replace(row, execution_count=tallied.execution_count)
            deployment.last_executed_at = changes.last_executed_at.get(identity, deployment.last_executed_at)
            self.checks.counted(identity, tallied.execution_count, row.max_executions)
            if tallied.completes:
                self._complete(deployment, row, more)
        if self.holding:  # deployments.sql: any_held, and its notify
            self.ring(None)

    def _complete(self, deployment: Deployment, before: DeploymentRow, newly_counted: int) -> None:
        """deployments.py: _complete and _decide_due; deployments.sql: complete_deployments."""
        now = self.room.now
        is_due = deployment.next_due_at is not None and deployment.next_due_at <= now
        if before.status is DeploymentStatus.ACTIVE and is_due:
            decision = decide(before.plan(), now, newly_counted)
            self.write_fires(deployment, decision.fires)
            if decision.backlog is not None:
                self.write_backlog(deployment, decision.backlog)
        deployment.row = replace(
            deployment.row,
            status=DeploymentStatus.COMPLETED,
            version=deployment.row.version + 1,
            next_fire_at=None,
        )
        deployment.updated_at = now
        deployment.next_due_at = None
        self.room.note("deployment completed", before.id)
        self.write_version(deployment)

    def drop_held(self, deployment: Deployment, reason: Reason, most: int | None = None) -> None:
        """decisions.sql: drop_held, and drop_newest_held with `most`."""
        held = sorted((each for each in deployment.under_way.values() if each.held), key=lambda each: each.row.id)
        for execution in held if most is None else held[len(held) - min(most, len(held)) :]:
            self._end_held(execution, ExecutionStatus.SKIPPED, reason)

    def cancel_held(self, execution: Execution) -> None:
        """runs.sql: cancel_held."""
        self._end_held(execution, ExecutionStatus.CANCELLED, Reason.CANCELLED_BY_USER)

    def _end_held(self, execution: Execution, status: ExecutionStatus, reason: Reason) -> None:
        outcome = Outcome(completed_at=self.room.now, reason=reason)
        self.write(execution, replace(execution.row, status=status, outcome=outcome), Changes(), "the centre")
        self.ring(None)
