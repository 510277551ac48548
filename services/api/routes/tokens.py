"""`/tokens`: what lets people and programs in."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.api import tokens
from services.api.auth import Admin
from services.api.paging import after, page
from services.api.routes.workroom import workroom
from services.api.shapes.base import Page
from services.api.shapes.token import ApiToken, MadeToken, NewToken, TokenFilters
from services.api.statements import SQL
from services.api.transactions import change, transaction

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.get("")
async def find(request: Request, caller: Admin, filters: Annotated[TokenFilters, Query()]) -> Page[ApiToken]:
    """The team's tokens, newest first; an operator's token is seen by operators only."""
    key = after("tokens", filters)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(
            SQL.tokens_page, caller.only_team, key, filters.role, filters.ended, filters.limit + 1
        )
    return page("tokens", filters, records, lambda record: ApiToken(**dict(record)))


@router.post("", status_code=201)
async def create(request: Request, caller: Admin, wanted: NewToken) -> MadeToken:
    """Make a token; its secret is in this answer and nowhere else. Nobody gives more than he has."""
    return await change(
        workroom(request).database, caller, lambda connection: tokens.create(connection, caller, wanted)
    )


@router.delete("/{token_id}")
async def revoke(request: Request, caller: Admin, token_id: UUID) -> ApiToken:
    """Take a token back: the next request with it is refused, the streams that it opened end. Twice is as once."""
    return await change(
        workroom(request).database, caller, lambda connection: tokens.revoke(connection, caller, token_id)
    )
