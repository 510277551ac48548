"""`/dead-letters`: what nobody could use, kept for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.api import letters
from services.api.auth import Editor, Viewer
from services.api.paging import after, page
from services.api.problems import not_found
from services.api.routes.workroom import workroom
from services.api.shapes.base import Page
from services.api.shapes.dead_letter import DeadLetter, DeadLetterFilters, WholeDeadLetter
from services.api.shapes.deployment import Because
from services.api.shapes.execution import Execution
from services.api.statements import SQL
from services.api.transactions import change, transaction

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])


@router.get("")
async def find(request: Request, caller: Viewer, filters: Annotated[DeadLetterFilters, Query()]) -> Page[DeadLetter]:
    """The team's dead letters, newest first; an operator sees those that belong to no team too."""
    key = after("dead-letters", filters)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(
            SQL.dead_letters_page,
            caller.only_team,
            key,
            filters.state,
            filters.host_name,
            filters.type,
            filters.limit + 1,
        )
    return page("dead-letters", filters, records, lambda record: DeadLetter(**dict(record)))


@router.get("/{letter_id}")
async def read(request: Request, caller: Viewer, letter_id: UUID) -> WholeDeadLetter:
    """One dead letter, with headers and body."""
    async with transaction(workroom(request).database, caller) as connection:
        record = await connection.fetchrow(SQL.dead_letter, letter_id)
    if record is None:
        raise not_found("dead letter")
    return WholeDeadLetter.of(dict(record))


@router.post("/{letter_id}/requeue", status_code=202)
async def requeue(request: Request, caller: Editor, letter_id: UUID) -> Execution:
    """Run the deployment of a dead trigger once, now. The second time it is refused."""
    record = await change(
        workroom(request).database, caller, lambda connection: letters.requeue(connection, caller, letter_id)
    )
    return Execution.of(record)


@router.post("/{letter_id}/close")
async def close(request: Request, caller: Editor, letter_id: UUID, because: Because | None = None) -> DeadLetter:
    """Say that it is dealt with."""
    record = await change(
        workroom(request).database,
        caller,
        lambda connection: letters.close(connection, caller, letter_id, _reason(because)),
    )
    return _shape(record)


@router.post("/{letter_id}/drop")
async def drop(request: Request, caller: Editor, letter_id: UUID, because: Because | None = None) -> DeadLetter:
    """Say that nothing is to be done about it. It is out of the way, not erased: `state=dropped` finds it."""
    record = await change(
        workroom(request).database,
        caller,
        lambda connection: letters.drop(connection, caller, letter_id, _reason(because)),
    )
    return _shape(record)


def _shape(record: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(**{name: record[name] for name in DeadLetter.model_fields})


def _reason(because: Because | None) -> str | None:
    return because.reason if because is not None else None
