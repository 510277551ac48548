"""`/cron`: what an expression means, and schedules to choose from."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from libs.schedule import PRESETS, describe
from services.api.auth import Viewer
from services.api.preview import preview
from services.api.routes.workroom import workroom
from services.api.shapes.preview import PresetShape, Preview, PreviewRequest
from services.api.statements import SQL
from services.api.surroundings import surroundings
from services.api.transactions import transaction

router = APIRouter(prefix="/cron", tags=["cron"])


@router.post("/preview")
async def look_ahead(request: Request, caller: Viewer, asked: PreviewRequest) -> Preview:
    """The next fires, in words too; an expression that is refused answers 200 with `valid: false` and why.

    With `targets` also how often it runs, and who else is due on the same device at the same minute.
    """
    async with transaction(workroom(request).database, caller) as connection:
        now = await connection.fetchval(SQL.alive)
        around = await surroundings(connection, caller, asked)
    # Looking for an alternative may take a tenth of a second, which others need not wait for.
    return await asyncio.to_thread(preview, asked, now, str(caller.team_id), around)


@router.get("/presets")
async def presets(_caller: Viewer) -> list[PresetShape]:
    """Schedules with names."""
    return [
        PresetShape(name=each.name, cron_expression=each.cron_expression, description=describe(each.cron_expression))
        for each in PRESETS
    ]
