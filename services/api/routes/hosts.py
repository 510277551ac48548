"""`/hosts` and `/scripts`: what there is to run on, enrolment, and what each host can run."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from libs.contracts import manual_id
from libs.ledger.decisions import note
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.ledger.tokens import ENTROPY_BYTES, make
from services.api.auth import Admin, Caller, Viewer
from services.api.paging import after_key, page
from services.api.problems import ProblemError, invalid, not_found
from services.api.routes.workroom import workroom
from services.api.shapes.base import Page
from services.api.shapes.filters import HostFilters, ScriptFilters
from services.api.shapes.host import Enrolled, Host, NewHost
from services.api.shapes.problem import FieldError, Kind
from services.api.shapes.script import Script
from services.api.statements import SQL
from services.api.topology import declare_host
from services.api.transactions import transaction

router = APIRouter(tags=["hosts"])


@router.get("/hosts")
async def find(request: Request, caller: Viewer, filters: Annotated[HostFilters, Query()]) -> Page[Host]:
    """The hosts that the team may use, with their devices, by name."""
    key = after_key("hosts", filters, 1)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.hosts_page, key[0] if key else None, None, filters.limit + 1)
    return page("hosts", filters, records, lambda record: Host.of(dict(record)), ("name",))


@router.post("/hosts", status_code=201)
async def enrol(request: Request, caller: Admin, wanted: NewHost) -> Enrolled:
    """Enrol a host: its row, its token (shown this once), its queues."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        team = await _team(connection, caller, wanted)
        now = await _now(connection)
        if await connection.fetchval(SQL.enrol_host, wanted.name, team, now) is None:
            raise ProblemError(Kind.WRONG_STATE, f"The name {wanted.name} is taken; a name is never given twice")
        token = make(os.urandom(ENTROPY_BYTES))
        await connection.execute(
            SQL.insert_host_token,
            manual_id(now, os.urandom(10)),
            team,
            f"host {wanted.name}",
            wanted.name,
            token.prefix,
            token.hash,
            now,
            caller.name,
        )
        await _tell(connection, caller, team, "enrol", wanted.name, now)
        # Before the commit: with the broker away there is no host, rather than one without queues.
        await declare_host(room.amqp_url, wanted.name)
        host = await connection.fetchrow(SQL.hosts_page, None, wanted.name, 1)
    assert host is not None
    return Enrolled(host=Host.of(dict(host)), secret=token.token)


@router.delete("/hosts/{name}")
async def revoke(request: Request, caller: Admin, name: str) -> Host:
    """Revoke a host: it gets nothing more and its token is refused. The second time does nothing."""
    async with transaction(workroom(request).database, caller) as connection:
        now = await _now(connection)
        team = await connection.fetchval(SQL.revoke_host, name, now)
        if team is None:
            raise not_found("host of this team")
        await _tell(connection, caller, team, "revoke", name, now)
        host = await connection.fetchrow(SQL.hosts_page, None, name, 1)
    assert host is not None
    return Host.of(dict(host))


@router.get("/scripts", tags=["scripts"])
async def scripts(request: Request, caller: Viewer, filters: Annotated[ScriptFilters, Query()]) -> Page[Script]:
    """What each host reported that it can run, by host and name."""
    host, name = after_key("scripts", filters, 2) or (None, None)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.scripts_page, host, name, filters.host_name, filters.limit + 1)
    return page("scripts", filters, records, lambda record: Script(**dict(record)), ("host_name", "name"))


async def _team(connection: Connection, caller: Caller, wanted: NewHost) -> UUID:
    if not caller.is_operator:
        if wanted.team_id not in {None, caller.team_id}:
            raise invalid([FieldError(field="team_id", message="This is not your team", hint="Leave it out.")])
        assert caller.team_id is not None
        return caller.team_id
    team = wanted.team_id or caller.team_id
    if team is None or not await connection.fetchval(SQL.team_exists, team):
        raise invalid([FieldError(field="team_id", message="There is no such team", hint="Name the host's team.")])
    return team


async def _now(connection: Connection) -> datetime:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    return now


async def _tell(connection: Connection, caller: Caller, team: UUID, action: str, name: str, now: datetime) -> None:
    await connection.execute(STATEMENTS.audit, now, team, caller.name, action, f"host/{name}", {})
    await note(connection, [(team, "host", name)])
