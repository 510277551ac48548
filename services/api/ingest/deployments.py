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

from libs.contracts import Change, DeploymentStatus
from libs.ledger import channels, decisions
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS as LEDGER
from libs.schedule.plan import Backlog, Fire, decide
from services.api.core.projection import Tally, tally
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS

COMPLETED = "The limit of executions was reached"


async def settle(connection: Connection, changes: Changes) -> None:
    """Lock the deployments that `changes` touched, count, and complete those that reach their limit.

    A scheduler is woken when one of them holds fires back for what has ended here (catch-up `all`).
    """
    touched = sorted(changes.newly_counted.keys() | changes.last_executed_at.keys())
    if touched:
        await _count(connection, touched, changes)
    # Under the locks of those that were counted, so that no scheduler holds a fire back unseen meanwhile.
    if changes.ended_of and await connection.fetchval(STATEMENTS.any_held, sorted(changes.ended_of)):
        await connection.execute(LEDGER.notify, channels.DUE, "")


async def _count(connection: Connection, touched: Sequence[UUID], changes: Changes) -> None:
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
    """Complete these, of which `records` holds the rows as they were before the count, and tell their hosts."""
    if not records:
        return
    # Read after the locks are held: from this instant on the deployments are completed.
    clock = await connection.fetchrow(LEDGER.ledger_now)
    assert clock is not None
    now = clock["now"]
    completing = [record["id"] for record in records]
    rows = [DeploymentRow.of(record) for record in await connection.fetch(STATEMENTS.deployment_rows, completing)]
    due = {record["id"]: record["execution_count"] for record in records if _is_due(record, now)}
    await _decide_due(connection, rows, due, changes, now=now, ledger_epoch=clock["ledger_epoch"])
    await connection.execute(STATEMENTS.complete_deployments, completing, COMPLETED, now)
    await connection.execute(LEDGER.insert_versions, completing)
    status = DeploymentStatus.COMPLETED
    await decisions.tell_host(connection, [(row, Change.STATUS, status, COMPLETED, None) for row in rows], now=now)


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
    connection: Connection,
    rows: Sequence[DeploymentRow],
    counts: Mapping[UUID, int],
    changes: Changes,
    *,
    now: datetime,
    ledger_epoch: int,
) -> None:
    fires: list[tuple[DeploymentRow, Fire]] = []
    backlogs: list[tuple[DeploymentRow, Backlog]] = []
    for counted in rows:
        if counted.id not in counts:
            continue
        row = replace(counted, execution_count=counts[counted.id])
        decision = decide(row.plan(), now, changes.newly_counted[row.id])
        if decision.backlog is not None:
            backlogs.append((row, decision.backlog))
        fires += [(row, fire) for fire in decision.fires]
    await decisions.write_fires(connection, fires, now=now, ledger_epoch=ledger_epoch)
    await decisions.write_backlogs(connection, backlogs)
