"""Writing what was decided: execution rows, outbox, where the deployment goes next, history and change feed.

All of it in the caller's transaction, which holds the row locks of the deployments. The scheduler fires with it; the
API uses it before an edit, so that fires which were due before the edit are decided by the rules that held then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from libs.contracts import (
    Change,
    DeploymentStatus,
    ExecutionStatus,
    Kind,
    Notice,
    Reason,
    fire_id,
    manual_id,
)
from libs.ledger import channels
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.sentences import skip_sentence, skipped_sentence
from libs.ledger.statements import STATEMENTS
from libs.schedule.plan import Backlog, CatchUp, Decision, Fire, decide, window_seconds

_STATUS_REASONS = {
    DeploymentStatus.COMPLETED: "The limit of executions was reached",
    DeploymentStatus.EXPIRED: "The end date was reached",
}

_Notice: TypeAlias = tuple[DeploymentRow, Change, DeploymentStatus, str, str | None]


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch came to, for metrics; what is held counts as triggered."""

    triggered: int
    skipped: int


async def in_flight(connection: Connection, rows: Sequence[DeploymentRow]) -> dict[UUID, int]:
    """How many executions of each deployment with a limit may still count. The caller holds the row locks."""
    limited = [row.id for row in rows if row.max_executions is not None]
    if not limited:
        return {}
    found = await connection.fetch(STATEMENTS.in_flight, limited)
    return {record["deployment_id"]: record["in_flight"] for record in found}


async def held(connection: Connection, rows: Sequence[DeploymentRow]) -> dict[UUID, int]:
    """How many executions of each deployment that catches up with `all` wait to be released. Row locks are held."""
    caring = [row.id for row in rows if row.catch_up is CatchUp.ALL]
    if not caring:
        return {}
    found = await connection.fetch(STATEMENTS.held, caring)
    return {record["deployment_id"]: record["held"] for record in found}


async def decide_due(
    connection: Connection, rows: Sequence[DeploymentRow], *, now: datetime, ledger_epoch: int
) -> Written:
    """Decide and write whatever is due of `rows` at `now`. The caller holds their row locks and read `now` after."""
    open_runs, waiting = await in_flight(connection, rows), await held(connection, rows)
    return await write(
        connection,
        [(row, decide(row.plan(), now, open_runs.get(row.id, 0), waiting.get(row.id, 0))) for row in rows],
        now=now,
        ledger_epoch=ledger_epoch,
    )


async def write(
    connection: Connection, decided: Sequence[tuple[DeploymentRow, Decision]], *, now: datetime, ledger_epoch: int
) -> Written:
    """Write the decisions, each on its deployment, and tell the hosts what people should read of them."""
    fires = [(row, fire) for row, decision in decided for fire in decision.fires]
    written = await write_fires(connection, fires, now=now, ledger_epoch=ledger_epoch)
    await connection.execute(
        STATEMENTS.move_on,
        [row.id for row, _ in decided],
        [decision.next_fire_at for _, decision in decided],
        [decision.next_due_at for _, decision in decided],
        [decision.status for _, decision in decided],
        [_STATUS_REASONS.get(decision.status) if decision.status else None for _, decision in decided],
        now,
    )
    changed = [row.id for row, decision in decided if decision.status is not None]
    if changed:
        await connection.execute(STATEMENTS.insert_versions, changed)
    await write_backlogs(connection, [(row, each.backlog) for row, each in decided if each.backlog is not None])
    await tell_host(
        connection, [notice for row, decision in decided for notice in _notices(row, decision, now)], now=now
    )
    await note(connection, [(row.team_id, "deployment", str(row.id)) for row, _ in decided])
    return written


async def write_backlogs(connection: Connection, behind: Sequence[tuple[DeploymentRow, Backlog]]) -> None:
    """Leave missed fires to the schedulers, who write them down in bounded steps."""
    if not behind:
        return
    plans = [row.plan() for row, _ in behind]
    await connection.execute(
        STATEMENTS.insert_backlogs,
        [plan.deployment_id for plan in plans],
        [window_seconds(plan.catch_up, plan.catch_up_window_seconds) for plan in plans],
        [backlog.from_at for _, backlog in behind],
        [backlog.until_at for _, backlog in behind],
    )


async def write_fires(
    connection: Connection,
    fires: Sequence[tuple[DeploymentRow, Fire]],
    *,
    now: datetime,
    ledger_epoch: int,
) -> Written:
    """One row per fire and one trigger per fire that runs now. A fire that has its row already is left alone.

    A held one has its row only: neither a trigger nor a time after which it must not start, before it is released.
    Where a deployment may not fire any more (its host was revoked, or is shared with its team no more) what would run
    is skipped instead; the schedulers pause it soon.
    """
    if not fires:
        return Written(0, 0)
    fires = await _without_barred(connection, fires)
    ids = [fire_id(row.id, fire.scheduled_at) for row, fire in fires]
    fresh = {
        record["id"]
        for record in await connection.fetch(
            STATEMENTS.insert_executions,
            ids,
            [row.id for row, _ in fires],
            [fire.scheduled_at for _, fire in fires],
            [fire.kind for _, fire in fires],
            [ExecutionStatus.SKIPPED if fire.reason else ExecutionStatus.TRIGGERED for _, fire in fires],
            [fire.reason for _, fire in fires],
            [skip_sentence(row, fire, now) for row, fire in fires],
            [None if fire.held else fire.not_after for _, fire in fires],
            now,
            [None] * len(fires),
            [fire.held for _, fire in fires],
        )
    }
    parcels = [
        Parcel(row.team_id, row.trigger(identity, fire.kind, fire.scheduled_at, fire.not_after, ledger_epoch))
        for identity, (row, fire) in zip(ids, fires, strict=True)
        if identity in fresh and fire.reason is None and not fire.held
    ]
    await enclose(connection, parcels)
    await note(
        connection,
        [(row.team_id, "execution", str(i)) for i, (row, _) in zip(ids, fires, strict=True) if i in fresh],
    )
    skipped = sum(fire.reason is not None for i, (_, fire) in zip(ids, fires, strict=True) if i in fresh)
    return Written(len(fresh) - skipped, skipped)


async def _without_barred(
    connection: Connection, fires: Sequence[tuple[DeploymentRow, Fire]]
) -> Sequence[tuple[DeploymentRow, Fire]]:
    firing = {row.id for row, fire in fires if fire.reason is None}
    if not firing:
        return fires
    barred = {record["id"] for record in await connection.fetch(STATEMENTS.barred_among, list(firing))}
    return [
        (row, replace(fire, reason=Reason.PAUSED, held=False) if fire.reason is None and row.id in barred else fire)
        for row, fire in fires
    ]


async def run_now(
    connection: Connection,
    row: DeploymentRow,
    execution_id: UUID,
    *,
    now: datetime,
    not_after: datetime,
    ledger_epoch: int,
    triggered_by: str,
) -> None:
    """Write one manual run. The caller holds the row lock and has checked status and limit."""
    await connection.fetch(
        STATEMENTS.insert_executions,
        [execution_id],
        [row.id],
        [now],
        [Kind.MANUAL],
        [ExecutionStatus.TRIGGERED],
        [None],
        [None],
        [not_after],
        now,
        [triggered_by],
        [False],
    )
    trigger = row.trigger(execution_id, Kind.MANUAL, now, not_after, ledger_epoch)
    await enclose(connection, [Parcel(row.team_id, trigger)])
    await note(connection, [(row.team_id, "execution", str(execution_id))])


def _notices(row: DeploymentRow, decision: Decision, now: datetime) -> list[_Notice]:
    """At most one of what was skipped and one of the new status."""
    notices: list[_Notice] = []
    skipped = skipped_sentence(row, decision, now)
    if skipped is not None:
        notices.append((row, Change.SKIPPED, decision.status or row.status, skipped, None))
    if decision.status is not None:
        notices.append((row, Change.STATUS, decision.status, _STATUS_REASONS[decision.status], None))
    return notices


async def tell_host(
    connection: Connection,
    notices: Sequence[_Notice],
    *,
    now: datetime,
) -> None:
    """A notice to the host of each deployment, for its deployments log: what changed, its status now, message, by whom.

    For people only: nothing depends on its arrival.
    """
    await enclose(
        connection,
        [
            Parcel(
                row.team_id,
                Notice(
                    command_id=manual_id(now, os.urandom(10)),
                    host=row.host_name,
                    deployment_id=row.id,
                    deployment_name=row.name,
                    device_id=row.device_id,
                    change=change,
                    status=status,
                    cron_expression=row.cron_expression,
                    timezone=row.timezone,
                    execution_count=row.execution_count,
                    max_executions=row.max_executions,
                    message=message,
                    by=by,
                ),
            )
            for row, change, status, message, by in notices
        ],
    )


async def note(connection: Connection, changes: Sequence[tuple[UUID, str, str]]) -> None:
    """Append `(team, kind, resource id)` to the change feed and wake its readers."""
    if not changes:
        return
    teams, kinds, resources = zip(*changes, strict=True)
    await connection.execute(STATEMENTS.feed, teams, kinds, resources)
    await connection.execute(STATEMENTS.notify, channels.CHANGES, "")
