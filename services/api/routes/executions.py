"""`/executions`, and the history of one deployment."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from libs.contracts import first_id
from services.api import runs
from services.api.auth import Editor, Viewer
from services.api.paging import after, page
from services.api.problems import not_found
from services.api.routes.workroom import workroom
from services.api.shapes.base import Page
from services.api.shapes.execution import Execution
from services.api.shapes.filters import ExecutionFilters, HistoryFilters
from services.api.statements import SQL
from services.api.transactions import change, transaction

router = APIRouter(tags=["executions"])


@router.get("/executions")
async def find(request: Request, caller: Viewer, filters: Annotated[ExecutionFilters, Query()]) -> Page[Execution]:
    """The team's executions, newest first."""
    key = after("executions", filters)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(
            SQL.executions_page,
            caller.only_team,
            key,
            filters.status,
            filters.reason,
            first_id(filters.from_) if filters.from_ else None,
            first_id(filters.to) if filters.to else None,
            filters.deployment_id,
            filters.host_name,
            filters.device_id,
            filters.limit + 1,
        )
    return page("executions", filters, records, lambda record: Execution.of(dict(record)))


@router.get("/deployments/{deployment_id}/executions")
async def history(
    request: Request, caller: Viewer, deployment_id: UUID, filters: Annotated[HistoryFilters, Query()]
) -> Page[Execution]:
    """What became of every fire of one deployment, newest first."""
    name = f"history/{deployment_id}"
    key = after(name, filters)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(
            SQL.history_page,
            deployment_id,
            key,
            filters.status,
            filters.reason,
            first_id(filters.from_) if filters.from_ else None,
            first_id(filters.to) if filters.to else None,
            filters.limit + 1,
        )
        if not records and await connection.fetchrow(SQL.deployment, deployment_id) is None:
            raise not_found("deployment")
    return page(name, filters, records, lambda record: Execution.of(dict(record)))


@router.get("/executions/{execution_id}")
async def read(request: Request, caller: Viewer, execution_id: UUID) -> Execution:
    """One execution."""
    async with transaction(workroom(request).database, caller) as connection:
        record = await connection.fetchrow(SQL.execution, execution_id)
    if record is None:
        raise not_found("execution")
    return Execution.of(dict(record))


@router.post("/executions/{execution_id}/cancel", status_code=202)
async def cancel(request: Request, caller: Editor, execution_id: UUID) -> Execution:
    """Ask the host to end it, queued or running; it ends when the host says so."""
    record = await change(
        workroom(request).database, caller, lambda connection: runs.cancel(connection, caller, execution_id)
    )
    return Execution.of(record)
