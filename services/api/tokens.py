"""Making tokens and taking them back."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import manual_id, rfc3339
from libs.ledger import channels
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.ledger.tokens import ENTROPY_BYTES, make
from services.api.auth import Caller, Role
from services.api.problems import ProblemError, invalid, not_found
from services.api.shapes.problem import FieldError, Kind
from services.api.shapes.token import ApiToken, MadeToken, NewToken
from services.api.statements import SQL


async def create(connection: Connection, caller: Caller, wanted: NewToken) -> MadeToken:
    """A token of the caller's team, or of any if the caller is an operator.

    Raises `forbidden` for a role above the caller's own, `invalid-input` for a team that is not the caller's to give.
    """
    if not caller.may(Role(wanted.role)):
        raise ProblemError(Kind.FORBIDDEN, f"A token with the role {caller.role} cannot make one with {wanted.role}")
    team = await team_for(connection, caller, wanted.team_id, needed=wanted.role != "operator")
    now = await _now(connection)
    until = None if wanted.expires_in_seconds is None else now + timedelta(seconds=wanted.expires_in_seconds)
    made, identity = make(os.urandom(ENTROPY_BYTES)), manual_id(now, os.urandom(10))
    await connection.execute(
        SQL.insert_token, identity, team, wanted.name, wanted.role, made.prefix, made.hash, now, caller.name, until
    )
    detail = {"name": wanted.name, "role": wanted.role, "expires_at": None if until is None else rfc3339(until)}
    await connection.execute(STATEMENTS.audit, now, team, caller.name, "create", f"token/{made.prefix}", detail)
    return MadeToken(token=await _token(connection, identity), secret=made.token)


async def revoke(connection: Connection, caller: Caller, token_id: UUID) -> ApiToken:
    """Take it back. Raises `not-found`, also for an operator's token when the caller is none."""
    token = await _token(connection, token_id)
    now = await _now(connection)
    if await connection.fetchrow(SQL.revoke_token, token_id, now) is None:
        return token
    changes = {"revoked_at": {"before": None, "after": rfc3339(now)}}
    detail = {"name": token.name, "role": token.role, "changes": changes}
    await connection.execute(
        STATEMENTS.audit, now, token.team_id, caller.name, "revoke", f"token/{token.prefix}", detail
    )
    await connection.execute(STATEMENTS.notify, channels.REVOKED, str(token_id))
    return await _token(connection, token_id)


async def team_for(connection: Connection, caller: Caller, wanted: UUID | None, *, needed: bool = True) -> UUID | None:
    """The team that something new of the caller belongs to. Raises `invalid-input`."""
    if not caller.is_operator:
        if wanted not in {None, caller.team_id}:
            raise invalid([FieldError(field="team_id", message="This is not your team", hint="Leave it out.")])
        return caller.team_id
    team = wanted or (caller.team_id if needed else None)
    if team is None and not needed:
        return None
    if team is None or not await connection.fetchval(SQL.team_exists, team):
        raise invalid([FieldError(field="team_id", message="There is no such team", hint="Name a team of GET /teams.")])
    return team


async def _token(connection: Connection, token_id: UUID) -> ApiToken:
    record = await connection.fetchrow(SQL.token, token_id)
    if record is None:
        raise not_found("token")
    return ApiToken(**dict(record))


async def _now(connection: Connection) -> datetime:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    return now
