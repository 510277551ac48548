"""A log while it grows: what is stored, piece by piece, until the execution has ended and all of it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from sse_starlette import ServerSentEvent

from libs.contracts import ENDED, ExecutionStatus
from services.api.auth import Caller
from services.api.core.text_pieces import whole_text
from services.api.database import Database
from services.api.log_store import LogPart, LogStore
from services.api.shapes.base import Shape
from services.api.shapes.log import Output, OutputEnd
from services.api.statements import SQL
from services.api.transactions import transaction

LOOK_EVERY_SECONDS = 0.5
PIECE_BYTES = 1 << 16


async def follow(
    database: Database, store: LogStore, caller: Caller, execution_id: UUID, offset: int
) -> AsyncIterator[ServerSentEvent]:
    """Events `output` from the byte `offset` on, and one `end`.

    An execution that ended ten minutes ago is not waited for any more, whatever its host still owes.
    """
    while True:
        # Asked before the parts: what was stored until the end is then surely among them.
        async with transaction(database, caller) as connection:
            progress = await connection.fetchrow(SQL.log_progress, execution_id)
        if progress is None:  # dropped by retention while we looked
            return
        parts = await store.parts(execution_id, after=offset)
        stored = parts[-1].end if parts else offset
        over = ExecutionStatus(progress["status"]) in ENDED and (
            stored >= progress["log_bytes"] or bool(progress["long_ago"])
        )
        async for event in _pieces(store, execution_id, parts, offset, stored, final=over):
            offset = int(event.id or offset)
            yield event
        if over:
            yield _event("end", OutputEnd(status=progress["status"], size=offset), offset)
            return
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _pieces(
    store: LogStore, execution_id: UUID, parts: list[LogPart], offset: int, stored: int, *, final: bool
) -> AsyncIterator[ServerSentEvent]:
    while offset < stored:
        end = min(offset + PIECE_BYTES, stored)
        content = b"".join([piece async for piece in store.read(execution_id, parts, offset, end)])
        text, taken = whole_text(content, final=final and end == stored)
        if not taken:
            return
        body = Output(offset=offset, text=text)
        offset += taken
        yield _event("output", body, offset)


def _event(kind: str, body: Shape, offset: int) -> ServerSentEvent:
    return ServerSentEvent(body.model_dump_json(), event=kind, id=str(offset), sep="\n")
