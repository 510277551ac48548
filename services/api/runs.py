"""Runs that a person asks for, and the wish to end one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.contracts import ENDED, SENTENCES, Cancel, CatchUp, DeploymentStatus, ExecutionStatus, Reason, manual_id
from libs.ledger import channels, decisions
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.schedule.plan import ON_TIME_SECONDS
from services.api.auth import Caller
from services.api.core import edit
from services.api.held import firing_is_held, hold_at, require_usable, wrong_state
from services.api.problems import ProblemError, not_found
from services.api.shapes.problem import Kind
from services.api.statements import SQL


async def run_now(
    connection: Connection,
    caller: Caller,
    deployment_id: UUID,
    *,
    reason: str | None = None,
    if_match: str | None = None,
) -> Mapping[str, Any]:
    """A new execution, `triggered`; also of a paused deployment. 409 in a terminal status or at the limit.

    `reason` is kept in the audit.
    """
    held = await hold_at(connection, deployment_id, if_match)
    if held.record["deleted_at"] is not None or not edit.may_become(held.status, DeploymentStatus.STOPPED):
        raise wrong_state(held, "run")
    if not held.firing:
        raise firing_is_held()
    await require_usable(connection, held)
    row = held.row
    open_runs = await decisions.in_flight(connection, [row])
    if row.max_executions is not None and row.execution_count + open_runs.get(row.id, 0) >= row.max_executions:
        raise ProblemError(
            Kind.LIMIT_REACHED,
            f"{row.execution_count} of {row.max_executions} executions count already, "
            f"{open_runs.get(row.id, 0)} more may yet",
        )
    window = ON_TIME_SECONDS if row.catch_up is CatchUp.NONE else row.catch_up_window_seconds
    execution_id = manual_id(held.now, os.urandom(10))
    await decisions.run_now(
        connection,
        row,
        execution_id,
        now=held.now,
        not_after=held.now + timedelta(seconds=window),
        ledger_epoch=held.ledger_epoch,
        triggered_by=caller.name,
    )
    await connection.execute(
        STATEMENTS.audit,
        held.now,
        row.team_id,
        caller.name,
        "run",
        f"deployment/{row.id}",
        {"execution_id": str(execution_id)} | ({"reason": reason} if reason else {}),
    )
    record = await connection.fetchrow(SQL.execution, execution_id)
    assert record is not None
    return dict(record)


async def cancel(connection: Connection, caller: Caller, execution_id: UUID) -> Mapping[str, Any]:
    """Ask the host to end it; the row ends by the host's word. The second time does nothing. 409 when it has ended."""
    record = await connection.fetchrow(SQL.execution_locked, execution_id)
    if record is None:
        raise not_found("execution")
    # A presumed ending is no ending: the script may still run.
    if ExecutionStatus(record["status"]) in ENDED and not record["presumed"]:
        raise ProblemError(Kind.WRONG_STATE, f"The execution is {record['status']} already")
    if record["cancel_requested_at"] is None:
        moment = await connection.fetchrow(STATEMENTS.ledger_now)
        assert moment is not None
        now = moment["now"]
        if record["held"]:
            # It was never sent, so nobody needs to be asked.
            await connection.execute(SQL.cancel_held, execution_id, now, SENTENCES[Reason.CANCELLED_BY_USER])
            await connection.execute(STATEMENTS.notify, channels.DUE, "")
        else:
            await connection.execute(SQL.request_cancel, execution_id, now)
            command = Cancel(
                command_id=manual_id(now, os.urandom(10)),
                host=record["host_name"],
                execution_id=execution_id,
                deployment_id=record["deployment_id"],
            )
            await enclose(connection, [Parcel(record["team_id"], command)])
        told = {"status": record["status"]} | ({"held": True} if record["held"] else {})
        await connection.execute(
            STATEMENTS.audit, now, record["team_id"], caller.name, "cancel", f"execution/{execution_id}", told
        )
        await decisions.note(connection, [(record["team_id"], "execution", str(execution_id))])
    answered = await connection.fetchrow(SQL.execution, execution_id)
    assert answered is not None
    return dict(answered)
