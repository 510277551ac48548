"""Releasing what catch-up `all` holds: one after the other, each when the one before it has ended.

A held fire has its row, `triggered`, and was never sent. Under its deployment's row lock the oldest goes out as soon as
nothing else of the deployment is open; from then on it may start for as long as the catch-up window is. The ingest
wakes us when a run ended. Several schedulers may do this at once: whoever has the row lock looks again under it.

A presumed ending is an ending here: should the host still be at it, its slot keeps the two apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from libs.chassis.logs import get_logger
from libs.contracts import DeploymentStatus, Kind, Reason
from libs.ledger import decisions, pausing
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection, Pool
from libs.ledger.rows import DeploymentRow
from libs.schedule.plan import window_seconds
from services.scheduler.statements import STATEMENTS
from services.scheduler.turn import turn

log = get_logger(__name__)

DEPLOYMENTS_AT_ONCE = 100


async def release(pool: Pool) -> int:
    """One bounded step: of each deployment that waits, the oldest held fire; answers how many deployments it moved."""
    async with turn(pool, STATEMENTS.waiting, DEPLOYMENTS_AT_ONCE) as ours:
        if ours is None:
            return 0
        doomed: defaultdict[Reason, list[UUID]] = defaultdict(list)
        free: list[DeploymentRow] = []
        for record in ours.records:
            row = DeploymentRow.of(record)
            reason = _why_never(row, is_deleted=record["deleted"])
            if reason is None:
                free.append(row)
            else:
                doomed[reason].append(row.id)
        for reason, deployments in doomed.items():
            await pausing.drop_held(ours.connection, deployments, reason, ours.now)
        released = await _send(ours.connection, free, ours.now, ours.ledger_epoch)
    if released:
        log.info("Released", executions=released)
    return released + sum(map(len, doomed.values()))


def _why_never(row: DeploymentRow, *, is_deleted: bool) -> Reason | None:
    """Why nothing of this deployment starts any more; None when it may. What expired may run what it fired before."""
    if is_deleted:
        return Reason.DELETED
    if row.status is DeploymentStatus.STOPPED:
        return Reason.STOPPED
    if row.max_executions is not None and row.execution_count >= row.max_executions:
        return Reason.LIMIT_REACHED
    return None


async def _send(connection: Connection, rows: Sequence[DeploymentRow], now: datetime, ledger_epoch: int) -> int:
    by_id = {row.id: row for row in rows}
    released = await connection.fetch(
        STATEMENTS.release,
        list(by_id),
        [now + timedelta(seconds=window_seconds(row.catch_up, row.catch_up_window_seconds)) for row in rows],
    )
    parcels = []
    for record in released:
        row = by_id[record["deployment_id"]]
        kind = Kind(record["kind"])
        trigger = row.trigger(record["id"], kind, record["scheduled_at"], record["not_after"], ledger_epoch)
        parcels.append(Parcel(row.team_id, trigger))
    await enclose(connection, parcels)
    await decisions.note(connection, [(r["team_id"], "execution", str(r["id"])) for r in released])
    return len(released)
