"""`/retention`: what is kept, and how long."""

from __future__ import annotations

from fastapi import APIRouter, Request

from services.api.auth import Operator
from services.api.retention import policies
from services.api.routes.workroom import workroom
from services.api.shapes.retention import KeptKind, Retention, RetentionChange, RetentionPlan, RetentionPolicy
from services.api.transactions import change, transaction

router = APIRouter(prefix="/retention", tags=["operation"])


@router.get("")
async def find(request: Request, caller: Operator) -> Retention:
    """The policies, when the next run begins, and what the latest ones removed."""
    async with transaction(workroom(request).database, caller) as connection:
        return await policies.overview(connection)


@router.get("/plan")
async def plan(request: Request, caller: Operator) -> RetentionPlan:
    """The dry run: what a run would remove if it began now. Nothing is changed."""
    room = workroom(request)
    return await policies.plan(room.database, caller, room.old_files)


@router.post("/run", status_code=202)
async def run(request: Request, caller: Operator) -> Retention:
    """Let a run begin within seconds instead of at its time; `runs` tells what became of it."""
    return await change(workroom(request).database, caller, lambda connection: policies.ask(connection, caller))


@router.put("/{kind}")
async def set_policy(request: Request, caller: Operator, kind: KeptKind, wanted: RetentionChange) -> RetentionPolicy:
    """Keep one kind for so many days. What is gone does not come back by a longer time."""
    return await change(
        workroom(request).database,
        caller,
        lambda connection: policies.set_policy(connection, caller, kind, wanted.keep_days),
    )
