"""`/teams`: who is apart from whom."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from libs.contracts import manual_id
from libs.ledger.statements import STATEMENTS
from services.api.auth import Caller, Operator, Viewer
from services.api.paging import after_key, page
from services.api.problems import ProblemError
from services.api.routes.workroom import workroom
from services.api.shapes.base import Page
from services.api.shapes.problem import Kind, refusals
from services.api.shapes.team import NewTeam, Team, TeamFilters
from services.api.statements import SQL
from services.api.transactions import transaction

router = APIRouter(prefix="/teams", tags=["teams"])


@router.get("")
async def find(request: Request, caller: Viewer, filters: Annotated[TeamFilters, Query()]) -> Page[Team]:
    """The own team, or for an operator all of them, by name."""
    key = after_key("teams", filters, 1)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.teams_page, caller.only_team, key[0] if key else None, filters.limit + 1)
    return page("teams", filters, records, lambda record: _shape(dict(record), caller), ("name",))


@router.post("", status_code=201, responses=refusals({409: "The name is taken"}))
async def create(request: Request, caller: Operator, wanted: NewTeam) -> Team:
    """Make a team: with it come no hosts and no tokens yet."""
    async with transaction(workroom(request).database, caller) as connection:
        moment = await connection.fetchrow(STATEMENTS.ledger_now)
        assert moment is not None
        identity = manual_id(moment["now"], os.urandom(10))
        made = await connection.fetchrow(SQL.insert_team, identity, wanted.name, moment["now"])
        if made is None:
            raise ProblemError(Kind.WRONG_STATE, f"There is a team {wanted.name} already")
        await connection.execute(
            STATEMENTS.audit, moment["now"], identity, caller.name, "create", f"team/{identity}", {"name": wanted.name}
        )
    return _shape(dict(made), caller)


def _shape(record: Mapping[str, Any], caller: Caller) -> Team:
    return Team(**record, own=record["id"] == caller.team_id)
