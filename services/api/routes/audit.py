"""`/audit`: who changed what, from where, when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from services.api.auth import Admin
from services.api.paging import after_key, page, refused
from services.api.routes.workroom import workroom
from services.api.shapes.audit import AuditEntry, AuditFilters
from services.api.shapes.base import Page
from services.api.statements import SQL
from services.api.transactions import transaction

router = APIRouter(tags=["audit"])


@router.get("/audit")
async def find(request: Request, caller: Admin, filters: Annotated[AuditFilters, Query()]) -> Page[AuditEntry]:
    """The team's changes, newest first; an operator sees all."""
    key = after_key("audit", filters, 1)
    if key is not None and not (key[0].isdecimal() and len(key[0]) < 19):
        raise refused("This is not a cursor that a list gave")
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(
            SQL.audit_page,
            caller.only_team,
            int(key[0]) if key else None,
            filters.actor,
            filters.action,
            filters.resource,
            filters.from_,
            filters.to,
            filters.limit + 1,
        )
    return page("audit", filters, records, lambda record: AuditEntry(**dict(record)))
