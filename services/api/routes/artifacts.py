"""`/executions/{id}/artifacts` and `/report`: hosts send what scripts left behind, people read it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from services.api import artifact_intake
from services.api.auth import HostCaller, Viewer
from services.api.core.byte_range import UnsatisfiableError, wanted
from services.api.core.report import report_of
from services.api.object_store import STORE_AWAY
from services.api.ownership import team_of_own
from services.api.problems import ProblemError, not_found, unavailable
from services.api.routes.workroom import workroom
from services.api.shapes.execution import Artifact, Artifacts, artifact_url
from services.api.shapes.problem import BINARY_BODY, Kind, refusals
from services.api.statements import SQL
from services.api.transactions import transaction

router = APIRouter(prefix="/executions", tags=["artifacts"])

# It is other people's HTML: it may run its scripts, but as nobody and from nowhere. It gets what lies beside it and
# what it holds itself, and nothing from elsewhere; only by leading its reader away could it tell anyone what it holds.
GUARDED = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'none'; "
        "form-action 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    # A page in a sandbox has no origin, so its own pictures come from another one.
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "private, no-cache",
}
_ANY_FILE: dict[str, Any] = {
    "description": "The file, or the range of it",
    "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
}


@router.get("/{execution_id}/artifacts")
async def find(request: Request, caller: Viewer, execution_id: UUID) -> Artifacts:
    """The files that the script left behind, by name."""
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.artifacts, execution_id)
        if not records and await connection.fetchval(SQL.execution_exists, execution_id) is None:
            raise not_found("execution")
    return Artifacts(items=[Artifact.of(execution_id, dict(record)) for record in records], next=None)


@router.get(
    "/{execution_id}/artifacts/{name:path}",
    response_class=Response,
    responses={200: _ANY_FILE, 206: _ANY_FILE, **refusals({416: "Not within the file"})},
)
async def read(
    request: Request,
    caller: Viewer,
    execution_id: UUID,
    name: str,
    byte_range: Annotated[str | None, Header(alias="range")] = None,
) -> Response:
    """One of them, as it is (`Range` works); its type follows from its name."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        record = await connection.fetchrow(SQL.artifact, execution_id, name) if "\x00" not in name else None
    if record is None:
        raise not_found("artifact")
    size: int = record["size"]
    headers = {**GUARDED, "Accept-Ranges": "bytes"}
    try:
        part = wanted(byte_range, size)
    except UnsatisfiableError:
        raise ProblemError(
            Kind.INVALID_INPUT, f"The file has {size} bytes", status=416, headers={"Content-Range": f"bytes */{size}"}
        ) from None
    start, end = part or (0, size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    try:
        content = await room.artifacts.open(execution_id, name, start, end)
    except FileNotFoundError:
        raise not_found("artifact any more: its file was removed from the store") from None
    except STORE_AWAY:
        raise unavailable("The store of the artifacts is away") from None
    return StreamingResponse(content, 200 if part is None else 206, headers, record["media_type"])


@router.get(
    "/{execution_id}/report",
    status_code=307,
    response_class=RedirectResponse,
    responses={307: {"description": "To the artifact that is the report, so that what it links to is found beside it"}},
)
async def report(request: Request, caller: Viewer, execution_id: UUID) -> RedirectResponse:
    """The report: `report.html`, else the only HTML file that there is."""
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.artifacts, execution_id)
    name = report_of(record["name"] for record in records)
    if name is None:
        raise not_found("report: the script left no report.html behind, nor just one other HTML file")
    return RedirectResponse(artifact_url(execution_id, name), 307)


@router.put(
    "/{execution_id}/artifacts/{name:path}",
    status_code=204,
    response_class=Response,
    openapi_extra=BINARY_BODY,
    responses=refusals({400: "Not of the announced length", 411: "Without Content-Length", 413: "Too large"}),
)
async def upload(
    request: Request,
    caller: HostCaller,
    execution_id: UUID,
    name: str,
    content_length: Annotated[int | None, Header(ge=0)] = None,
) -> Response:
    """A file from the execution's own host, in place of one of the same name. Its length must be announced."""
    room = workroom(request)
    team_id = await team_of_own(room.database, caller, execution_id)
    if content_length is None:
        raise ProblemError(Kind.MALFORMED, "Send a Content-Length", status=411)
    await artifact_intake.take(
        room.database, room.artifacts, execution_id, team_id, name, content_length, request.stream()
    )
    return Response(status_code=204)
