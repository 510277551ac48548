"""`/executions/{id}/log`: hosts send parts, people read them, also while they grow."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sse_starlette import EventSourceResponse

from services.api.auth import Given, HostCaller, Ticket, Viewer
from services.api.core.byte_range import UnsatisfiableError, wanted
from services.api.log_follow import Follower
from services.api.log_store import GapError
from services.api.object_store import STORE_AWAY
from services.api.ownership import team_of_own
from services.api.problems import ProblemError, not_found, unavailable
from services.api.routes.workroom import workroom
from services.api.shapes.log import Have
from services.api.shapes.problem import BINARY_BODY, Kind, refusals
from services.api.statements import SQL
from services.api.transactions import transaction

router = APIRouter(prefix="/executions", tags=["logs"])

KEEP_ALIVE_SECONDS = 15

_EXAMPLE = """id: 16
event: output
data: {"offset": 0, "text": "channel 1: fine\\n"}

id: 16
event: end
data: {"status": "completed", "size": 16}

"""


@router.get(
    "/{execution_id}/log",
    response_class=Response,
    responses={
        200: {
            "description": "The log; with `follow=true` until the execution has ended",
            "content": {"text/plain": {}, "text/event-stream": {"example": _EXAMPLE}},
        },
        206: {"description": "The range", "content": {"text/plain": {}}},
        **refusals({416: "Not within the log"}),
    },
)
async def read(
    request: Request,
    caller: Viewer,
    given: Given,
    execution_id: UUID,
    follow_it: Annotated[bool, Query(alias="follow")] = False,
    byte_range: Annotated[str | None, Header(alias="range")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The raw bytes (`Range` works), or with `follow=true` events `output` and `end`, resumed by `Last-Event-ID`."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        progress = await connection.fetchrow(SQL.log_progress, execution_id)
    if progress is None:
        raise not_found("execution")
    if progress["is_removed"]:
        raise not_found("log any more: it was older than logs are kept")
    if follow_it:
        offset = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 19 else 0
        ticket = Ticket(request.app.state.authenticator, given, caller)
        follower = Follower(room.database, room.logs, ticket, execution_id, offset)
        events = follower.events(room.live_logs, progress["host_name"], room.revocations)
        return EventSourceResponse(events, ping=KEEP_ALIVE_SECONDS, sep="\n")
    try:
        parts = await room.logs.parts(execution_id)
    except STORE_AWAY:
        raise unavailable("The store of the logs is away") from None
    size = parts[-1].end if parts else 0
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    try:
        part = wanted(byte_range, size)
    except UnsatisfiableError:
        raise ProblemError(
            Kind.INVALID_INPUT, f"The log has {size} bytes", status=416, headers={"Content-Range": f"bytes */{size}"}
        ) from None
    start, end = part or (0, size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(
        room.logs.read(execution_id, parts, start, end),
        200 if part is None else 206,
        headers,
        "text/plain; charset=utf-8",
    )


@router.put(
    "/{execution_id}/log",
    status_code=204,
    response_class=Response,
    openapi_extra=BINARY_BODY,
    responses={409: {"model": Have, "description": "A gap"}, **refusals({413: "Too large: send it in parts"})},
)
async def upload(
    request: Request, caller: HostCaller, execution_id: UUID, offset: Annotated[int, Query(ge=0, le=1 << 50)]
) -> Response:
    """A part of the log from its host, from byte `offset` on. A repeat is 204; a gap is 409 and says what is there."""
    room = workroom(request)
    content = await request.body()
    await team_of_own(room.database, caller, execution_id)
    try:
        await room.logs.append(execution_id, offset, content)
    except GapError as gap:
        return JSONResponse(Have(have=gap.have).model_dump(), 409)
    except STORE_AWAY:
        raise unavailable("The store of the logs is away; send this part again") from None
    return Response(status_code=204)
