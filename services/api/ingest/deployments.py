"""Counting a deployment's executions, and completing it at its limit: the last step of every transaction.

A deployment that completes has its due fires decided first, by the rules that held until now: the executions that reach
the limit are counted as in flight, so those fires are skipped with a reason and none is silently dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts import DeploymentStatus
from libs.ledger import decisions
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS as LEDGER
from libs.schedule.plan import Backlog, Fire, decide
from services.api.core.projection import Tally, tally
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS

COMPLETED = "The limit of executions was reached"


async def settle(connection: Connection, changes: Changes) -> None:
    """Lock the deployments that `changes` touched, count, and complete those that reach their limit."""
    touched = sorted(changes.newly_counted.keys() | changes.last_executed_at.keys())
    if not touched:
        return
    records = await connection.fetch(STATEMENTS.lock_deployments, touched)
    tallies = {record["id"]: _tally(record, changes.newly_counted[record["id"]]) for record in records}
    await connection.execute(
        STATEMENTS.count_executions,
        list(tallies),
        [tallied.execution_count for tallied in tallies.values()],
        [changes.last_executed_at.get(identity) for identity in tallies],
    )
    await _complete(connection, [record for record in records if tallies[record["id"]].completes], changes)
    for record in records:
        changes.note(record["team_id"], "deployment", str(record["id"]))


async def _complete(connection: Connection, records: Sequence[asyncpg.Record], changes: Changes) -> None:
    """Complete these, of which `records` holds the rows as they were before the count."""
    if not records:
        return
    # Read after the locks are held: from this instant on the deployments are completed.
    clock = await connection.fetchrow(LEDGER.ledger_now)
    assert clock is not None
    now = clock["now"]
    due = {record["id"]: record["execution_count"] for record in records if _is_due(record, now)}
    await _decide_due(connection, due, changes, now=now, ledger_epoch=clock["ledger_epoch"])
    completing = [record["id"] for record in records]
    await connection.execute(STATEMENTS.complete_deployments, completing, COMPLETED, now)
    await connection.execute(LEDGER.insert_versions, completing)


def _tally(record: asyncpg.Record, newly_counted: int) -> Tally:
    status = DeploymentStatus(record["status"])
    return tally(status, record["execution_count"], record["max_executions"], newly_counted)


def _is_due(record: asyncpg.Record, now: datetime) -> bool:
    return (
        record["status"] == DeploymentStatus.ACTIVE
        and record["next_due_at"] is not None
        and record["next_due_at"] <= now
    )


async def _decide_due(
    connection: Connection, counts: Mapping[UUID, int], changes: Changes, *, now: datetime, ledger_epoch: int
) -> None:
    if not counts:
        return
    fires: list[tuple[DeploymentRow, Fire]] = []
    backlogs: list[tuple[DeploymentRow, Backlog]] = []
    for record in await connection.fetch(STATEMENTS.deployment_rows, list(counts)):
        row = replace(DeploymentRow.of(record), execution_count=counts[record["id"]])
        decision = decide(row.plan(), now, changes.newly_counted[row.id])
        if decision.backlog is not None:
            backlogs.append((row, decision.backlog))
        fires += [(row, fire) for fire in decision.fires]
    await decisions.write_fires(connection, fires, now=now, ledger_epoch=ledger_epoch)
    await decisions.write_backlogs(connection, backlogs)
