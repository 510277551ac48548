"""A team that a request names: clients of the former system send one with everything."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from services.api.auth import Caller, Role
from services.api.database import Database
from services.api.problems import ProblemError, invalid, not_found
from services.api.shapes.problem import FieldError, Kind
from services.api.statements import SQL
from services.api.transactions import transaction


async def in_team(database: Database, caller: Caller, *named: str | None) -> Caller:
    """The caller, working in the team that is named; without a name as the token says.

    An operator who names a team acts as an admin of that team: row level security does the rest. Raises `forbidden`
    for another team than the token's, `not-found` for an operator who names none that there is, `invalid-input` when
    two different ones are named.
    """
    texts = [text.strip() for text in named if text is not None and text.strip()]
    teams = {_identity(text) for text in texts}
    if not teams:
        return caller
    if not caller.is_operator and teams != {caller.team_id}:
        raise ProblemError(
            Kind.FORBIDDEN,
            f"team_id names another team than the token's, which is {caller.team_id}: send that, or none",
        )
    if len(teams) > 1:
        raise invalid([FieldError(field="team_id", message="Two different teams are named", hint="Name one.")])
    [team] = teams
    if not caller.is_operator:
        return caller
    async with transaction(database, caller) as connection:
        if team is None or not await connection.fetchval(SQL.team_exists, team):
            raise not_found("team")
    return replace(caller, role=Role.ADMIN, team_id=team)


def _identity(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
