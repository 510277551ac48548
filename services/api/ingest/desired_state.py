"""What a host is to know, whole: the answer to its hello, and what it is told after a restore."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts import DeploymentState, DeploymentStatus, FenceState, LockState, Reason, Sync
from libs.ledger.pool import Connection
from services.api.ingest.statements import STATEMENTS


async def desired_state(
    connection: Connection, host: str, command_id: UUID, *, host_sent_at: datetime, now: datetime, ledger_epoch: int
) -> Sync:
    """The sync for this host at `now`. `host_sent_at` is of the hello that it answers, for the host's clock."""
    fences = await connection.fetch(STATEMENTS.fences, host, now)
    locks = await connection.fetch(STATEMENTS.locks, host, now)
    deployments = await connection.fetch(STATEMENTS.deployment_states, host)
    return Sync(
        command_id=command_id,
        host=host,
        ledger_epoch=ledger_epoch,
        fences=tuple(
            FenceState(
                deployment_id=record["deployment_id"],
                ledger_epoch=ledger_epoch,
                version=record["version"],
                reason=Reason(record["reason"]),
            )
            for record in fences
        ),
        locks=tuple(map(_lock, locks)),
        deployments=tuple(map(_deployment, deployments)),
        host_sent_at=host_sent_at,
        db_time=now,
    )


def _lock(record: asyncpg.Record) -> LockState:
    return LockState(
        device_id=record["device_id"],
        lock_version=record["lock_version"],
        owner=record["lock_owner"],
        reason=record["lock_reason"] or "",
        since=record["lock_since"],
        expires_at=record["lock_expires_at"],
    )


def _deployment(record: asyncpg.Record) -> DeploymentState:
    return DeploymentState(
        deployment_id=record["id"],
        name=record["name"],
        version=record["version"],
        status=DeploymentStatus(record["status"]),
        cron_expression=record["cron_expression"],
        timezone=record["timezone"],
        last_executed_at=record["last_executed_at"],
        next_fire_at=record["next_fire_at"],
        execution_count=record["execution_count"],
        max_executions=record["max_executions"],
    )
