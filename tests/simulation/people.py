"""What people do through the API, as transactions of the ledger: the product's rules for edits are used as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.contracts import (
    ENDED,
    LIVE,
    Cancel,
    CatchUp,
    Command,
    DeploymentStatus,
    ExecutionStatus,
    Fence,
    Kind,
    Lock,
    Reason,
    Unlock,
    manual_id,
)
from libs.ledger.rows import DeploymentRow
from libs.schedule.plan import ON_TIME_SECONDS
from services.api.core import edit
from tests.simulation.ledger import EPOCH, Ledger
from tests.simulation.rows import Deployment, Execution

WHO = "ann"


class People:
    """Each method is one request; what the API would refuse does nothing, and answers False."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._room = ledger.room
        self._checks = ledger.checks

    def create(self, row: DeploymentRow) -> Deployment:
        """creation.py: a deployment, counted from now."""
        now = self._room.now
        placed = edit.next_of(_values(row, None), after=now, inclusive=True)
        row = replace(row, next_fire_at=placed["next_fire_at"])
        deployment = Deployment(row, placed["next_due_at"], now)
        self._ledger.deployments[row.id] = deployment
        self._ledger.write_version(deployment)
        self._room.note("created", row.id, f"{row.name} {row.cron_expression} {row.timezone} {row.catch_up}")
        self._ledger.ring(None)
        return deployment

    def pause(self, deployment: Deployment) -> bool:
        """changes.py: pause."""
        if not self._may(deployment, DeploymentStatus.PAUSED):
            return False
        values = edit.paused(_values(deployment.row, deployment.deleted_at), WHO, None)
        return self._write(deployment, "paused", values, Reason.PAUSED)

    def resume(self, deployment: Deployment) -> bool:
        """changes.py: resume."""
        end = deployment.row.end_date
        if not self._may(deployment, DeploymentStatus.ACTIVE) or (end is not None and end <= self._room.now):
            return False
        values = edit.resumed(_values(deployment.row, deployment.deleted_at), WHO, self._room.now)
        return self._write(deployment, "resumed", values)

    def stop(self, deployment: Deployment) -> bool:
        """changes.py: stop."""
        if not self._may(deployment, DeploymentStatus.STOPPED):
            return False
        return self._write(deployment, "stopped", edit.stopped(WHO, None), Reason.STOPPED)

    def delete(self, deployment: Deployment) -> bool:
        """changes.py: delete."""
        self._hold(deployment)
        if deployment.deleted_at is not None:
            return False
        values = edit.deleted(_values(deployment.row, None), WHO, None, self._room.now)
        return self._write(deployment, "deleted", values, Reason.DELETED)

    def patch(self, deployment: Deployment, given: Mapping[str, Any]) -> bool:
        """changes.py: patch, of a cron expression or a limit."""
        self._hold(deployment)
        if deployment.deleted_at is not None or deployment.row.status not in LIVE:
            return False
        reason = None
        limit = given.get("max_executions", deployment.row.max_executions)
        if edit.lowers_limit(deployment.row.max_executions, limit):
            running = sum(each.row.status is ExecutionStatus.RUNNING for each in deployment.under_way.values())
            if limit < deployment.row.execution_count + running:
                return False
            surplus = self._may_count(deployment) - limit
            if surplus > 0:
                self._ledger.drop_held(deployment, Reason.LIMIT_REACHED, surplus)
                if self._may_count(deployment) > limit:
                    reason = Reason.LIMIT_REACHED
        values = edit.edited(_values(deployment.row, deployment.deleted_at), given, WHO, self._room.now)
        if not values:
            return False
        return self._write(deployment, f"edited {dict(given)}", values, reason)

    def run_now(self, deployment: Deployment) -> bool:
        """runs.py: run_now."""
        self._hold(deployment)
        row, now = deployment.row, self._room.now
        if deployment.deleted_at is not None or row.status not in LIVE:
            return False
        if row.max_executions is not None and self._may_count(deployment) >= row.max_executions:
            return False
        window = ON_TIME_SECONDS if row.catch_up is CatchUp.NONE else row.catch_up_window_seconds
        identity, until = manual_id(now, self._room.entropy()), now + timedelta(seconds=window)
        self._ledger.insert(deployment, identity, Kind.MANUAL, now, until, None)
        self._ledger.enclose(row.trigger(identity, Kind.MANUAL, now, until, EPOCH))
        return True

    def cancel(self, execution: Execution) -> bool:
        """runs.py: cancel."""
        row = execution.row
        if (row.status in ENDED and not row.presumed) or execution.cancel_requested:
            return False
        execution.cancel_requested = True
        self._room.note("cancel asked for", row.id)
        if execution.held:
            self._ledger.cancel_held(execution)
        else:
            self._enclose(
                Cancel(
                    command_id=self._command_id(),
                    host=row.host_name,
                    execution_id=row.id,
                    deployment_id=row.deployment_id,
                )
            )
        return True

    def lock(self, host: str, device: str, seconds: int | None) -> None:
        """locks.py: lock."""
        now, locks = self._room.now, self._ledger.hosts[host].locks
        version, owner, since, expires_at = locks.get(device, (0, None, None, None))
        stands = owner is not None and (expires_at is None or expires_at > now)
        expires_at = None if seconds is None else now + timedelta(seconds=seconds)
        began = since if stands and since is not None else now
        locks[device] = version + 1, WHO, began, expires_at
        self._room.note("locked", None, f"{device} for {seconds} s")
        self._enclose(
            Lock(
                command_id=self._command_id(),
                host=host,
                device_id=device,
                lock_version=version + 1,
                owner=WHO,
                reason="",
                since=began,
                expires_at=expires_at,
            )
        )

    def unlock(self, host: str, device: str) -> None:
        """locks.py: unlock."""
        locks = self._ledger.hosts[host].locks
        version, owner, _, expires_at = locks.get(device, (0, None, None, None))
        if owner is None or (expires_at is not None and expires_at <= self._room.now):
            return
        locks[device] = version + 1, None, None, None
        self._room.note("unlocked", None, device)
        self._enclose(Unlock(command_id=self._command_id(), host=host, device_id=device, lock_version=version + 1))

    def _hold(self, deployment: Deployment) -> None:
        """held.py: hold: what is due by the old rules is decided first."""
        due = deployment.next_due_at
        if deployment.row.status is DeploymentStatus.ACTIVE and due is not None and due <= self._room.now:
            self._ledger.decide_due(deployment)

    def _may(self, deployment: Deployment, wanted: DeploymentStatus) -> bool:
        """held.py: hold_at and require."""
        self._hold(deployment)
        return deployment.deleted_at is None and edit.may_become(deployment.row.status, wanted)

    @staticmethod
    def _may_count(deployment: Deployment) -> int:
        """deployments.sql: under_way, and what counts already."""
        return len(deployment.under_way) + deployment.row.execution_count

    def _write(
        self, deployment: Deployment, action: str, values: Mapping[str, Any], fence: Reason | None = None
    ) -> bool:
        """changes.py: _write; deployments.sql: change_deployment; decisions.sql: insert_versions."""
        merged = {**_values(deployment.row, deployment.deleted_at), "next_due_at": deployment.next_due_at, **values}
        merged["version"] = deployment.row.version + 1
        deployment.row = DeploymentRow.of(merged)
        deployment.next_due_at = merged["next_due_at"]
        deployment.deleted_at = merged["deleted_at"]
        deployment.updated_at = self._room.now
        self._room.note("changed", deployment.row.id, action)
        self._ledger.write_version(deployment)
        if fence is not None:
            self._ledger.drop_held(deployment, fence)
            row = deployment.row
            if fence is Reason.LIMIT_REACHED:
                self._checks.limits_lowered.add(row.id)
            self._enclose(
                Fence(
                    command_id=self._command_id(),
                    host=row.host_name,
                    deployment_id=row.id,
                    ledger_epoch=EPOCH,
                    version=row.version,
                    reason=fence,
                )
            )
        self._ledger.ring(None)
        return True

    def _enclose(self, command: Command) -> None:
        self._ledger.enclose(command)

    def _command_id(self) -> UUID:
        return manual_id(self._room.now, self._room.entropy())


def _values(row: DeploymentRow, deleted_at: object) -> dict[str, Any]:
    return {name: getattr(row, name) for name in DeploymentRow.__slots__} | {"deleted_at": deleted_at}
