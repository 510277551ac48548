"""Pausing what the system itself takes back, and ending what waits to be released: nothing of it starts any more."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts import SENTENCES, Change, DeploymentStatus, Fence, Reason, manual_id
from libs.ledger.decisions import note, tell_host
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS

_BY = "rigbeat"
"""Who does what nobody asked for, as `move_on` writes it down too."""


async def pause(
    connection: Connection, rows: Sequence[tuple[DeploymentRow, str, bool]], *, now: datetime, ledger_epoch: int
) -> None:
    """Pause these deployments, each for its reason and, where that is asked for (True), with a word to its host.

    By the system itself. The caller holds their row locks, read `now` after, and has decided what was due before.
    """
    if not rows:
        return
    ids, status, size = [row.id for row, _, _ in rows], DeploymentStatus.PAUSED, len(rows)
    ends, reasons = [row.end_date for row, _, _ in rows], [why for _, why, _ in rows]
    await connection.execute(STATEMENTS.move_on, ids, [None] * size, ends, [status] * size, reasons, now)
    await connection.execute(STATEMENTS.insert_versions, ids)
    await drop_held(connection, ids, Reason.PAUSED, now)
    told = [(row, why) for row, why, is_told in rows if is_told]
    fences = [
        Fence(
            command_id=manual_id(now, os.urandom(10)),
            host=row.host_name,
            deployment_id=row.id,
            deployment_name=row.name,
            ledger_epoch=ledger_epoch,
            version=row.version + 1,
            reason=Reason.PAUSED,
        )
        for row, _ in told
    ]
    await enclose(connection, [Parcel(row.team_id, fence) for (row, _), fence in zip(told, fences, strict=True)])
    await tell_host(connection, [(row, Change.STATUS, status, why, _BY) for row, why in told], now=now)
    for row, why, _ in rows:
        changes = {"status": {"before": row.status, "after": status}}
        detail = {"version": row.version + 1, "changes": changes, "reason": why}
        await connection.execute(STATEMENTS.audit, now, row.team_id, _BY, "pause", f"deployment/{row.id}", detail)
    await note(connection, [(row.team_id, "deployment", str(row.id)) for row, _, _ in rows])


async def drop_held(
    connection: Connection, deployment_ids: Sequence[UUID], reason: Reason, now: datetime
) -> list[UUID]:
    """End what of these deployments waits to be released (catch-up `all`): `skipped`, for `reason`; answers the ids.

    Nothing of it was ever sent, so no host is asked. The caller holds the deployments' row locks and read `now` after.
    """
    dropped = await connection.fetch(STATEMENTS.drop_held, deployment_ids, reason, SENTENCES[reason], now)
    return await _note_dropped(connection, dropped)


async def drop_newest_held(
    connection: Connection, deployment_id: UUID, most: int, reason: Reason, now: datetime
) -> list[UUID]:
    """The same of the newest of one deployment, at most so many: those before them still get their turn."""
    parameters = (deployment_id, most, reason, SENTENCES[reason], now)
    return await _note_dropped(connection, await connection.fetch(STATEMENTS.drop_newest_held, *parameters))


async def _note_dropped(connection: Connection, dropped: Sequence[asyncpg.Record]) -> list[UUID]:
    await note(connection, [(record["team_id"], "execution", str(record["id"])) for record in dropped])
    return sorted(record["id"] for record in dropped)
