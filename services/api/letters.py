"""What people do about dead letters: run the fire anew, say that it is dealt with, or drop it.

The old message is never sent again, and no letter is ever erased: what became of it is kept in its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from libs.contracts import ContractError, Trigger, decode
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api import runs
from services.api.auth import Caller
from services.api.problems import ProblemError, not_found
from services.api.shapes.problem import Kind
from services.api.statements import SQL


async def requeue(connection: Connection, caller: Caller, letter_id: UUID) -> Mapping[str, Any]:
    """The execution that now runs in place of the trigger that died.

    Raises `not-found`; `wrong-state` for what is settled, no trigger, or of a deployment that does not run any more;
    and what a run now raises.
    """
    letter = await _open(connection, letter_id)
    deployment_id = _deployment_of(letter)
    if await connection.fetchrow(SQL.deployment, deployment_id) is None:
        raise _wrong(f"The deployment {deployment_id} of this trigger is not known; close the letter")
    execution = await runs.run_now(connection, caller, deployment_id)
    now = await _now(connection)
    await connection.fetchrow(SQL.requeue_dead_letter, letter_id, now, caller.name, execution["id"])
    await _audit(connection, caller, letter, "requeue", now, {"execution_id": str(execution["id"])})
    return execution


async def close(connection: Connection, caller: Caller, letter_id: UUID, reason: str | None) -> Mapping[str, Any]:
    """The letter, closed: it is dealt with. Raises `not-found`, `wrong-state` for what is settled."""
    return await _settle(connection, caller, letter_id, "close", "closed", reason)


async def drop(connection: Connection, caller: Caller, letter_id: UUID, reason: str | None) -> Mapping[str, Any]:
    """The letter, dropped: nothing is to be done about it. Raises `not-found`, `wrong-state` for what is settled."""
    return await _settle(connection, caller, letter_id, "drop", "dropped", reason)


async def _settle(
    connection: Connection,
    caller: Caller,
    letter_id: UUID,
    action: str,
    state: Literal["closed", "dropped"],
    reason: str | None,
) -> Mapping[str, Any]:
    letter = await _open(connection, letter_id)
    now = await _now(connection)
    settled = await connection.fetchrow(SQL.settle_dead_letter, letter_id, state, now, caller.name, reason)
    assert settled is not None
    await _audit(connection, caller, letter, action, now, {} if reason is None else {"reason": reason})
    return dict(settled)


async def _open(connection: Connection, letter_id: UUID) -> asyncpg.Record:
    letter = await connection.fetchrow(SQL.dead_letter_locked, letter_id)
    if letter is None:
        raise not_found("dead letter")
    if letter["state"] == "requeued":
        raise _wrong(f"{letter['requeued_by']} had it run again already, as execution {letter['requeued_as']}")
    if letter["state"] != "open":
        raise _wrong(f"The letter is {letter['state']} already")
    return letter


def _deployment_of(letter: asyncpg.Record) -> UUID:
    if letter["type"] != Trigger.type:
        kind = letter["type"] or "a message without a type"
        raise _wrong(f"Only a trigger can run again; this is {kind}. Close the letter when you have dealt with it")
    try:
        message = decode(letter["type"], letter["body"] or b"")
    except ContractError as error:
        raise _wrong(f"The trigger cannot be read, so nothing can be run in its place: {error}") from None
    assert isinstance(message, Trigger)
    return message.deployment_id


async def _now(connection: Connection) -> datetime:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    return now


async def _audit(
    connection: Connection, caller: Caller, letter: asyncpg.Record, action: str, now: datetime, detail: dict[str, str]
) -> None:
    await connection.execute(
        STATEMENTS.audit, now, letter["team_id"], caller.name, action, f"dead-letter/{letter['id']}", detail
    )


def _wrong(sentence: str) -> ProblemError:
    return ProblemError(Kind.WRONG_STATE, sentence)
