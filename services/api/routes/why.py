"""`/deployments/{id}/why`: what became of a minute, and why."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.api.auth import Viewer
from services.api.routes.workroom import workroom
from services.api.shapes.why import Why, WhyQuery
from services.api.transactions import transaction
from services.api.why import why

router = APIRouter(tags=["deployments"])


@router.get("/deployments/{deployment_id}/why")
async def explain(request: Request, caller: Viewer, deployment_id: UUID, query: Annotated[WhyQuery, Query()]) -> Why:
    """Why it ran or did not, at any minute, past or future: every check in the order of decision, in words."""
    async with transaction(workroom(request).database, caller) as connection:
        minute, answer = await why(connection, deployment_id, query.at)
    return Why.of(deployment_id, minute, answer)
