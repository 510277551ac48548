"""`/cron`: what an expression means, and schedules to choose from."""

from __future__ import annotations

from fastapi import APIRouter, Request

from libs.schedule import PRESETS, describe
from services.api.auth import Viewer
from services.api.preview import preview
from services.api.routes.workroom import workroom
from services.api.shapes.preview import PresetShape, Preview, PreviewRequest
from services.api.statements import SQL

router = APIRouter(prefix="/cron", tags=["cron"])


@router.post("/preview")
async def look_ahead(request: Request, caller: Viewer, asked: PreviewRequest) -> Preview:
    """The next fires, in words too; an expression that is refused answers 200 with `valid: false` and why."""
    async with workroom(request).database.connection() as connection:
        now = await connection.fetchval(SQL.alive)
    return preview(asked, now, str(caller.team_id))


@router.get("/presets")
async def presets(_caller: Viewer) -> list[PresetShape]:
    """Schedules with names."""
    return [
        PresetShape(name=each.name, cron_expression=each.cron_expression, description=describe(each.cron_expression))
        for each in PRESETS
    ]
