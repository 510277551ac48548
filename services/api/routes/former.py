"""`/server/deployment/*` and `/server/script/list`: the routes of the system before Rigbeat, for its clients.

The same functions as under `/api/v1` make and change deployments here; only the envelopes differ. Where that system's
own page names no method, the likely ones are taken.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from services.api import changes, creation, edits
from services.api.auth import Caller, Editor, Viewer
from services.api.core import former_clients
from services.api.fencing import make_and_wait
from services.api.problems import invalid, not_found
from services.api.routes.workroom import workroom
from services.api.shapes import former as shapes
from services.api.shapes.deployment import Deployment
from services.api.shapes.filters import MOST_ON_A_PAGE
from services.api.shapes.problem import FieldError
from services.api.statements import SQL
from services.api.teams_named import in_team
from services.api.transactions import change, transaction

router = APIRouter(prefix=former_clients.PREFIX, tags=["clients of the former system"])

TeamId: TypeAlias = Annotated[shapes.TeamId, Query()]
Most: TypeAlias = Annotated[int, Query(ge=1, le=shapes.MOST_EXECUTIONS, description="so many at most")]
MOST_BY_DEFAULT = 100


async def _viewer(request: Request, caller: Viewer, team_id: TeamId = None) -> Caller:
    return await in_team(workroom(request).database, caller, team_id)


async def _editor(request: Request, caller: Editor, team_id: TeamId = None) -> Caller:
    return await in_team(workroom(request).database, caller, team_id)


ViewerInTeam = Annotated[Caller, Depends(_viewer)]
EditorInTeam = Annotated[Caller, Depends(_editor)]


@router.post("/deployment/create")
async def create(
    request: Request, caller: Editor, wanted: shapes.FormerNew, team_id: TeamId = None
) -> shapes.FormerDeployment:
    """Make a deployment on one device."""
    room = workroom(request)
    caller = await in_team(room.database, caller, team_id, wanted.team_id)
    [made] = await change(
        room.database, caller, lambda connection: creation.create(connection, caller, wanted.wanted())
    )
    return shapes.FormerDeployment(deployment=Deployment.of(dict(made)))


@router.put("/deployment/update/{deployment_id}")
@router.post("/deployment/update/{deployment_id}", include_in_schema=False)
@router.patch("/deployment/update/{deployment_id}", include_in_schema=False)
async def update(
    request: Request, caller: Editor, deployment_id: UUID, wanted: shapes.FormerEdit, team_id: TeamId = None
) -> shapes.FormerDeployment:
    """Edit schedule and constraints: at once. What is missing stays, null clears. POST and PATCH do the same."""
    room = workroom(request)
    caller = await in_team(room.database, caller, team_id, wanted.team_id)
    async with transaction(room.database, caller) as connection:
        before = await connection.fetchrow(SQL.deployment, deployment_id)
    if before is None:
        raise not_found("deployment")
    if faults := wanted.faults(dict(before)):
        raise invalid([FieldError(field=each.field, message=each.message, hint=each.hint) for each in faults])
    given = wanted.wanted().given()
    record = await edits.edit(room.database, room.acknowledgements, caller, deployment_id, given, if_match=None)
    return shapes.FormerDeployment(deployment=Deployment.of(record))


@router.get("/deployment/list")
async def find(request: Request, caller: ViewerInTeam) -> shapes.FormerDeployments:
    """All deployments of the team, newest first, without those that were deleted."""
    found: list[Deployment] = []
    last: UUID | None = None
    async with transaction(workroom(request).database, caller) as connection:
        # In pieces: others are served between them.
        while True:
            records = await connection.fetch(
                SQL.deployments_page, caller.only_team, last, None, None, None, None, None, False, MOST_ON_A_PAGE
            )
            found += [Deployment.of(dict(record)) for record in records]
            if len(records) < MOST_ON_A_PAGE:
                return shapes.FormerDeployments(deployments=found)
            last = records[-1]["id"]


@router.post("/deployment/pause/{deployment_id}")
@router.put("/deployment/pause/{deployment_id}", include_in_schema=False)
async def pause(request: Request, caller: EditorInTeam, deployment_id: UUID) -> shapes.Done:
    """Fire no more. PUT does the same."""
    room = workroom(request)
    await make_and_wait(
        room.database,
        room.acknowledgements,
        caller,
        lambda connection, fence: changes.pause(
            connection, caller, deployment_id, reason=None, if_match=None, fence=fence
        ),
    )
    return shapes.Done()


@router.post("/deployment/resume/{deployment_id}")
@router.put("/deployment/resume/{deployment_id}", include_in_schema=False)
async def resume(request: Request, caller: EditorInTeam, deployment_id: UUID) -> shapes.Done:
    """Fire again from now on; what fell into the pause is not missed. PUT does the same."""
    await change(
        workroom(request).database,
        caller,
        lambda connection: changes.resume(connection, caller, deployment_id, reason=None, if_match=None),
    )
    return shapes.Done()


@router.delete("/deployment/delete/{deployment_id}")
@router.post("/deployment/delete/{deployment_id}", include_in_schema=False)
async def delete(request: Request, caller: EditorInTeam, deployment_id: UUID) -> shapes.Done:
    """Stop it and take it out of the list; its history stays. POST does the same."""
    room = workroom(request)
    await make_and_wait(
        room.database,
        room.acknowledgements,
        caller,
        lambda connection, fence: changes.delete(
            connection, caller, deployment_id, reason=None, if_match=None, fence=fence
        ),
    )
    return shapes.Done()


@router.get("/deployment/history/{deployment_id}")
async def history(
    request: Request, caller: ViewerInTeam, deployment_id: UUID, limit: Most = MOST_BY_DEFAULT
) -> shapes.FormerExecutions:
    """The newest executions of one deployment, also of a deleted one."""
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.history_page, deployment_id, None, None, None, None, None, limit)
        if not records and await connection.fetchrow(SQL.deployment, deployment_id) is None:
            raise not_found("deployment")
    return shapes.FormerExecutions(executions=[shapes.FormerExecution.of(dict(record)) for record in records])


@router.get("/deployment/executions/recent")
async def recent(request: Request, caller: ViewerInTeam, limit: Most = MOST_BY_DEFAULT) -> shapes.FormerExecutions:
    """The newest executions of all deployments of the team."""
    nothing = (None,) * 8
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.executions_page, caller.only_team, *nothing, limit)
    return shapes.FormerExecutions(executions=[shapes.FormerExecution.of(dict(record)) for record in records])


@router.get("/script/list")
async def scripts(request: Request, caller: ViewerInTeam) -> shapes.FormerScripts:
    """The names of all scripts that hosts of the team have reported, each once."""
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.script_names)
    return shapes.FormerScripts(scripts=[record["name"] for record in records])
