"""`/hosts` and `/scripts`: what there is to run on, locks of devices, and what each host can run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query, Request

from libs.contracts.topology import commands_queue, triggers_queue
from libs.ledger.pool import Connection
from services.api import locks
from services.api.acknowledgements import WAIT_SECONDS
from services.api.auth import Caller, Editor, Viewer
from services.api.locks import Place
from services.api.paging import after_key, page
from services.api.problems import not_found
from services.api.routes.workroom import Workroom, workroom
from services.api.shapes.base import Label, Page
from services.api.shapes.filters import HostFilters, ScriptFilters
from services.api.shapes.host import Device, Host, NewLock, Queues
from services.api.shapes.script import Script
from services.api.statements import SQL
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
        lambda connection, command_id: locks.lock(connection, caller, place, wanted=wanted, command_id=command_id),
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
