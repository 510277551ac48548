"""`/deployments`: make, copy, find, edit, pause, resume, stop, delete, run; many at once."""

from __future__ import annotations

from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from services.api import changes, creation, edits, runs
from services.api.auth import Caller, Editor, Viewer
from services.api.bulk import bulk
from services.api.fencing import Work, make_and_wait
from services.api.paging import after, page
from services.api.problems import not_found
from services.api.routes.workroom import workroom
from services.api.shapes.base import Items, Page
from services.api.shapes.bulk import Bulk, BulkAnswers
from services.api.shapes.copy import DeploymentCopy
from services.api.shapes.deployment import Because, Deployment, DeploymentPatch, NewDeployment
from services.api.shapes.execution import Execution
from services.api.shapes.filters import DeploymentFilters
from services.api.statements import SQL
from services.api.transactions import change, transaction

router = APIRouter(prefix="/deployments", tags=["deployments"])

IfMatch: TypeAlias = Annotated[str | None, Header(description='The version that is edited, such as "4"')]


@router.post("", status_code=201)
async def create(request: Request, caller: Editor, wanted: NewDeployment) -> Items[Deployment]:
    """Make one deployment, or one for each of `targets`: all or none."""
    room = workroom(request)
    made = await change(room.database, caller, lambda connection: creation.create(connection, caller, wanted))
    return Items(items=[Deployment.of(dict(record)) for record in made])


@router.get("")
async def find(request: Request, caller: Viewer, filters: Annotated[DeploymentFilters, Query()]) -> Page[Deployment]:
    """The team's deployments, newest first."""
    key = after("deployments", filters)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(
            SQL.deployments_page,
            caller.only_team,
            key,
            filters.status,
            filters.host_name,
            filters.device_id,
            filters.script_name,
            filters.q,
            filters.deleted,
            filters.limit + 1,
        )
    return page("deployments", filters, records, lambda record: Deployment.of(dict(record)))


@router.post("/bulk")
async def change_many(request: Request, caller: Editor, wanted: Bulk) -> BulkAnswers:
    """The same action or edit for many, each on its own: one that fails undoes no other. An answer for each id."""
    room = workroom(request)
    return BulkAnswers(items=await bulk(room.database, room.acknowledgements, caller, wanted))


@router.get("/{deployment_id}")
async def read(request: Request, response: Response, caller: Viewer, deployment_id: UUID) -> Deployment:
    """One deployment, also a deleted one."""
    async with transaction(workroom(request).database, caller) as connection:
        record = await connection.fetchrow(SQL.deployment, deployment_id)
    if record is None:
        raise not_found("deployment")
    return _tagged(response, Deployment.of(dict(record)))


@router.patch("/{deployment_id}")
async def edit(
    request: Request,
    response: Response,
    caller: Editor,
    deployment_id: UUID,
    wanted: DeploymentPatch,
    if_match: IfMatch = None,
) -> Deployment:
    """Edit schedule, constraints, policies: at once. What is missing stays, null clears.

    A lower limit first takes back from the host what has not started; it is refused (409) while that cannot be known.
    """
    room = workroom(request)
    record = await edits.edit(
        room.database, room.acknowledgements, caller, deployment_id, wanted.given(), if_match=if_match
    )
    return _tagged(response, Deployment.of(record))


@router.delete("/{deployment_id}")
async def delete(
    request: Request, response: Response, caller: Editor, deployment_id: UUID, if_match: IfMatch = None
) -> Deployment:
    """Stop it and take it out of the lists. Its history stays, its name is free."""
    return await _changed(
        request,
        response,
        caller,
        lambda connection, fence: changes.delete(
            connection, caller, deployment_id, reason=None, if_match=if_match, fence=fence
        ),
    )


@router.post("/{deployment_id}/copy", status_code=201)
async def copy(
    request: Request, response: Response, caller: Editor, deployment_id: UUID, wanted: DeploymentCopy | None = None
) -> Deployment:
    """Make a new one like it but for what is given, on another device for example; also of one that is over."""
    differing = wanted or DeploymentCopy()
    made = await change(
        workroom(request).database,
        caller,
        lambda connection: creation.copy(connection, caller, deployment_id, differing),
    )
    return _tagged(response, Deployment.of(dict(made)))


@router.post("/{deployment_id}/pause")
async def pause(
    request: Request,
    response: Response,
    caller: Editor,
    deployment_id: UUID,
    because: Because | None = None,
    if_match: IfMatch = None,
) -> Deployment:
    """Fire no more. `host_acknowledged` true: nothing of it starts any more, not even what was queued."""
    return await _changed(
        request,
        response,
        caller,
        lambda connection, fence: changes.pause(
            connection, caller, deployment_id, reason=_reason(because), if_match=if_match, fence=fence
        ),
    )


@router.post("/{deployment_id}/resume")
async def resume(
    request: Request,
    response: Response,
    caller: Editor,
    deployment_id: UUID,
    because: Because | None = None,
    if_match: IfMatch = None,
) -> Deployment:
    """Fire again from now on; what fell into the pause is not missed."""
    room = workroom(request)
    done = await change(
        room.database,
        caller,
        lambda connection: changes.resume(
            connection, caller, deployment_id, reason=_reason(because), if_match=if_match
        ),
    )
    # Nothing is to be applied by the host: newer triggers pass its fence.
    return _tagged(response, Deployment.of(done.record, host_acknowledged=True))


@router.post("/{deployment_id}/stop")
async def stop(
    request: Request,
    response: Response,
    caller: Editor,
    deployment_id: UUID,
    because: Because | None = None,
    if_match: IfMatch = None,
) -> Deployment:
    """End it for good. A running script may end by itself."""
    return await _changed(
        request,
        response,
        caller,
        lambda connection, fence: changes.stop(
            connection, caller, deployment_id, reason=_reason(because), if_match=if_match, fence=fence
        ),
    )


@router.post("/{deployment_id}/run", status_code=202)
async def run(
    request: Request,
    caller: Editor,
    deployment_id: UUID,
    because: Because | None = None,
    if_match: IfMatch = None,
) -> Execution:
    """Run it once, now; also while it is paused."""
    record = await change(
        workroom(request).database,
        caller,
        lambda connection: runs.run_now(connection, caller, deployment_id, reason=_reason(because), if_match=if_match),
    )
    return Execution.of(record)


async def _changed(request: Request, response: Response, caller: Caller, work: Work) -> Deployment:
    """Make the change, then wait for the host that was fenced, if it is there to answer."""
    room = workroom(request)
    record, acknowledged = await make_and_wait(room.database, room.acknowledgements, caller, work)
    return _tagged(response, Deployment.of(record, host_acknowledged=acknowledged))


def _reason(because: Because | None) -> str | None:
    return because.reason if because is not None else None


def _tagged(response: Response, deployment: Deployment) -> Deployment:
    response.headers["ETag"] = f'"{deployment.version}"'
    return deployment
