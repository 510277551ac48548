"""`/livez`, `/readyz`, `/metrics`, on the port of the API and without a token."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from libs.chassis.metrics import CONTENT_TYPE, exposition
from libs.ledger.pool import DATABASE_AWAY
from services.api.problems import ProblemError
from services.api.routes.workroom import workroom
from services.api.statements import SQL

router = APIRouter(include_in_schema=False)

CHECK_SECONDS = 2.0


@router.get("/livez")
async def live() -> Response:
    """200 as long as the loop runs."""
    return JSONResponse({"live": True})


@router.get("/readyz")
async def ready(request: Request) -> Response:
    """200, or 503 with what is missing: the database, or the first declaration of exchanges and queues."""
    room = workroom(request)
    checks = {"database": await _database_answers(request), "topology": room.topology_declared()}
    missing = sorted(name for name, is_ready in checks.items() if not is_ready)
    return JSONResponse({"ready": not missing, "not_ready": missing, "checks": checks}, 503 if missing else 200)


@router.get("/metrics")
async def metrics() -> Response:
    """What all web workers and the ingest measured, whichever of them is asked."""
    return Response(exposition(), media_type=CONTENT_TYPE)


async def _database_answers(request: Request) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS), workroom(request).database.connection() as connection:
            await connection.fetchval(SQL.alive)
    except (ProblemError, *DATABASE_AWAY):
        return False
    return True
