"""`/hosts` and `/scripts`: what there is to run on, enrolment, locks of devices, and what each host can run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query, Request

from libs.contracts import manual_id
from libs.contracts.topology import commands_queue, triggers_queue
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.ledger.tokens import ENTROPY_BYTES, make
from services.api import locks
from services.api.acknowledgements import WAIT_SECONDS
from services.api.auth import Admin, Caller, Editor, Viewer, speak_for_all
from services.api.locks import Place
from services.api.paging import after_key, page
from services.api.problems import ProblemError, invalid, not_found
from services.api.routes.workroom import Workroom, workroom
from services.api.shapes.base import Label, Page
from services.api.shapes.filters import HostFilters, ScriptFilters
from services.api.shapes.host import Device, Enrolled, Host, NewHost, NewLock, Queues
from services.api.shapes.problem import FieldError, Kind, refusals
from services.api.shapes.script import Script
from services.api.statements import SQL
from services.api.topology import declare_host
from services.api.transactions import change, transaction

router = APIRouter(tags=["hosts"])


@router.get("/hosts")
async def find(request: Request, caller: Viewer, filters: Annotated[HostFilters, Query()]) -> Page[Host]:
    """The hosts that the team may use, with their devices, by name."""
    room = workroom(request)
    key = after_key("hosts", filters, 1)
    async with transaction(room.database, caller) as connection:
        records = await connection.fetch(SQL.hosts_page, key[0] if key else None, None, filters.limit + 1)
    queues = await _queues(room, [record["name"] for record in records[: filters.limit]])
    return page("hosts", filters, records, lambda record: Host.of(dict(record), queues[record["name"]]), ("name",))


@router.get("/hosts/{name}")
async def read(request: Request, caller: Viewer, name: Label) -> Host:
    """One host."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        record = await _host(connection, name)
    return Host.of(dict(record), (await _queues(room, [name]))[name])


@router.post("/hosts", status_code=201, responses=refusals({409: "The name is taken"}))
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
        host = await _host(connection, wanted.name)
    return Enrolled(host=Host.of(dict(host)), secret=token.token)


@router.delete("/hosts/{name}")
async def revoke(request: Request, caller: Admin, name: Label) -> Host:
    """Revoke a host: it gets nothing more and its token is refused. The second time does nothing."""
    async with transaction(workroom(request).database, caller) as connection:
        now = await _now(connection)
        team = await connection.fetchval(SQL.revoke_host, name, now)
        if team is None:
            raise not_found("host of this team")
        await _tell(connection, caller, team, "revoke", name, now)
        host = await _host(connection, name)
    return Host.of(dict(host))


@router.post("/hosts/{name}/devices/{device_id}/lock")
async def lock(request: Request, caller: Editor, name: Label, device_id: Label, wanted: NewLock) -> Device:
    """Take a device: nothing starts on it until you give it back or the time is over. What runs on it goes on.

    The owner may lock again, which renews the lock. The answer waits up to two seconds for the host; a host that is
    away hears of the lock before anything else when it comes back.
    """
    place = Place(name, device_id)
    return await _changed(
        request,
        caller,
        place,
        lambda connection, command_id: locks.lock(
            connection, caller, place, reason=wanted.reason, seconds=wanted.seconds, command_id=command_id
        ),
    )


@router.post("/hosts/{name}/devices/{device_id}/unlock")
async def unlock(request: Request, caller: Editor, name: Label, device_id: Label) -> Device:
    """Give a device back: its owner may, and an admin. Without a lock nothing happens."""
    place = Place(name, device_id)
    return await _changed(
        request,
        caller,
        place,
        lambda connection, command_id: locks.unlock(connection, caller, place, command_id=command_id),
    )


@router.get("/scripts", tags=["scripts"])
async def scripts(request: Request, caller: Viewer, filters: Annotated[ScriptFilters, Query()]) -> Page[Script]:
    """What each host reported that it can run, by host and name."""
    host, name = after_key("scripts", filters, 2) or (None, None)
    async with transaction(workroom(request).database, caller) as connection:
        records = await connection.fetch(SQL.scripts_page, host, name, filters.host_name, filters.limit + 1)
    return page("scripts", filters, records, lambda record: Script(**dict(record)), ("host_name", "name"))


async def _changed(
    request: Request, caller: Caller, place: Place, work: Callable[[Connection, UUID], Awaitable[bool]]
) -> Device:
    """Change the lock, wait for the host if it is there to answer, and show the device."""
    room = workroom(request)
    command_id = UUID(bytes=os.urandom(16), version=4)
    with room.acknowledgements.expected(command_id) as applied:
        is_online = await change(room.database, caller, lambda connection: work(connection, command_id))
        if is_online:
            await _until(applied)
    async with transaction(room.database, caller) as connection:
        host = Host.of(dict(await _host(connection, place.host_name)))
    for device in host.devices:
        if device.device_id == place.device_id:
            return device
    raise not_found("device of a host of this team")


async def _until(applied: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(applied.wait(), WAIT_SECONDS)
    except TimeoutError:
        return


async def _host(connection: Connection, name: str) -> asyncpg.Record:
    record = await connection.fetchrow(SQL.hosts_page, None, [name], 1)
    if record is None:
        raise not_found("host of this team")
    return record


async def _queues(room: Workroom, hosts: list[str]) -> dict[str, Queues]:
    """What waits for each host; nothing is known while the broker is away."""
    names = {host: (triggers_queue(host), commands_queue(host)) for host in hosts}
    found = await room.broker.depths_if_there([queue for pair in names.values() for queue in pair])
    answer = {}
    for host, (triggers, commands) in names.items():
        ready, orders = found[triggers], found[commands]
        answer[host] = Queues(
            triggers=ready.ready if ready else None,
            commands=orders.ready if orders else None,
            consumers=ready.consumers if ready else None,
        )
    return answer


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
    host = await _host(connection, name)
    await speak_for_all(connection)
    await locks.note_for_all(connection, "host", name, (host["team_id"], *host["shared_teams"]))
