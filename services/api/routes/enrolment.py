"""`/hosts`: enrolled, given credentials, shared, revoked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query, Request

from libs.chassis.errors import ChassisError
from libs.chassis.logs import get_logger
from libs.contracts import manual_id, rfc3339
from libs.ledger import channels
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api import enrolment, locks
from services.api.auth import (
    Admin,
    Authenticator,
    Caller,
    Credentials,
    HostCaller,
    Operator,
    Role,
    Token,
    address_of,
    asks_for,
    speak_for_all,
)
from services.api.enrolment import Presented, is_host
from services.api.problems import ProblemError, invalid, not_found
from services.api.routes.workroom import Workroom, workroom
from services.api.shapes.base import Label
from services.api.shapes.host import Enrolled, Host, HostCredentials, HostPatch, NewHost, Queued
from services.api.shapes.problem import FieldError, Kind, refusals
from services.api.statements import SQL
from services.api.tokens import team_for
from services.api.topology import declare_host, remove_host
from services.api.transactions import transaction

log = get_logger(__name__)

router = APIRouter(prefix="/hosts", tags=["hosts"])


@router.post("", status_code=201, responses=refusals({409: "The name is taken"}))
async def enrol(request: Request, caller: Admin, wanted: NewHost) -> Enrolled:
    """Enrol a host: its row, its queues, and a secret (shown this once) that its runner exchanges for credentials."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        team = await team_for(connection, caller, wanted.team_id)
        assert team is not None
        sharing = await _sharing(connection, caller, wanted.shared_teams, team)
        now = await _now(connection)
        if await connection.fetchval(SQL.enrol_host, wanted.name, team, now, sharing) is None:
            raise ProblemError(Kind.WRONG_STATE, f"The name {wanted.name} is taken; a name is never given twice")
        secret = await enrolment.new_secret(connection, caller, wanted.name, now)
        detail = {"team_id": str(team), "shared_teams": [str(each) for each in sharing]}
        # Before the commit: with the broker away there is no host, rather than one without queues.
        await declare_host(room.amqp_url, wanted.name)
        host = await _told(connection, caller, team, "enrol", wanted.name, now, detail)
    return Enrolled(host=Host.of(dict(host)), secret=secret)


@router.post("/{name}/enrol", status_code=201, responses=refusals({409: "The host is revoked"}))
async def enrol_again(request: Request, caller: Admin, name: Label) -> Enrolled:
    """A new secret for a host that is there: for a new machine, or one that lost its credentials.

    What it has now stays good until the new secret is exchanged.
    """
    async with transaction(workroom(request).database, caller) as connection:
        host = await _own(connection, name)
        now = await _now(connection)
        if host["status"] == "revoked":
            raise ProblemError(Kind.WRONG_STATE, f"The host {name} is revoked; enrol one with another name")
        secret = await enrolment.new_secret(connection, caller, name, now)
        host = await _told(connection, caller, host["team_id"], "enrol again", name, now, {})
    return Enrolled(host=Host.of(dict(host)), secret=secret)


@router.post("/{name}/renew", status_code=202, responses=refusals({409: "It has none of its own"}))
async def renew(request: Request, caller: Admin, name: Label) -> Host:
    """Let the host take new credentials by itself, within two minutes and without a restart; the former end then."""
    async with transaction(workroom(request).database, caller) as connection:
        await _own(connection, name)
        await enrolment.ask_to_renew(connection, caller, name)
        host = await _host(connection, name)
    return Host.of(dict(host))


@router.patch("/{name}")
async def share(request: Request, caller: Operator, name: Label, wanted: HostPatch) -> Host:
    """Let other teams use the host, or not any more: their deployments on it are paused then, and their locks end."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        before = await _own(connection, name)
        sharing = await _sharing(connection, caller, wanted.shared_teams, before["team_id"])
        now = await _now(connection)
        await connection.execute(SQL.share_host, name, sharing)
        await connection.execute(STATEMENTS.notify, channels.HOSTS, name)
        change = {"before": [str(each) for each in before["shared_teams"]], "after": [str(each) for each in sharing]}
        detail = {"changes": {"shared_teams": change}}
        host = await _told(connection, caller, before["team_id"], "share", name, now, detail)
        await locks.note_for_all(
            connection, "host", name, [each for each in before["shared_teams"] if each not in sharing]
        )
        for device in await connection.fetch(SQL.strangers_locks, name):
            place = locks.Place(name, device["device_id"])
            await locks.unlock(connection, caller, place, command_id=manual_id(now, os.urandom(10)))
        host = await _host(connection, name)
    return Host.of(dict(host))


@router.delete("/{name}")
async def revoke(
    request: Request,
    caller: Admin,
    name: Label,
    queued: Annotated[
        Queued,
        Query(description="what becomes of what waits for it; of a host without a user of its own it always goes"),
    ] = Queued.KEEP,
) -> Host:
    """Revoke a host: its tokens are refused, its broker's user and connections are gone at once. Twice is as once.

    Whoever fires pauses what fires on it.
    """
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        host = await _own(connection, name)
        now = await _now(connection)
        if await connection.fetchval(SQL.revoke_host, name, now) is not None:
            await connection.execute(SQL.drop_enrolment, name)
            had_user = await connection.fetchval(SQL.drop_host_credentials, name) is not None
            if not had_user and host["last_seen_at"] is not None:
                queued = Queued.DRAIN  # it is let in by what others share: without its queues it gets nothing more
            for ended in await connection.fetch(SQL.revoke_host_tokens, name, UUID(int=0), now):
                await connection.execute(STATEMENTS.notify, channels.REVOKED, str(ended["id"]))
            await connection.execute(STATEMENTS.notify, channels.HOSTS, name)
            changes = {"revoked_at": {"before": None, "after": rfc3339(now)}}
            detail = {"queued": queued, "changes": changes}
            host = await _told(connection, caller, host["team_id"], "revoke", name, now, detail)
        else:
            host = await _host(connection, name)
        if queued is Queued.DRAIN:
            await connection.execute(SQL.drop_host_queues, name)
    # After the commit: with the broker away, user and queues go when they are looked at next.
    await _shut_out(room, name, queued)
    return Host.of(dict(host))


@asks_for(Role.HOST)
async def _presented(request: Request, token: Token, name: Label) -> Presented:
    authenticator: Authenticator = request.app.state.authenticator
    database = workroom(request).database
    async with authenticator.counted(address_of(request), token), database.connection() as connection:
        who = await enrolment.presented(connection, name, token)
    if who is not None:
        return who
    caller = await authenticator.caller(Credentials(address_of(request), token))
    if not is_host(caller, name):
        raise ProblemError(
            Kind.FORBIDDEN, f"Only the host {name} may do this, with its token or the secret it came with"
        )
    return Presented(name, token_id=caller.token_id)


@router.post(
    "/{name}/credentials", status_code=201, responses=refusals({409: "Another exchange or a revocation overtook it"})
)
async def credentials(request: Request, who: Annotated[Presented, Depends(_presented)], name: Label) -> HostCredentials:
    """New credentials for the host that asks, with its token or with the secret that it was enrolled with.

    The secret may be exchanged again until the token that it gave was used; then it is spent. A former token stays good
    until the new ones are taken up.
    """
    room = workroom(request)
    issued = await room.host_access.exchange(room.database, who)
    return HostCredentials(host_name=issued.host_name, token=issued.token, amqp_url=issued.amqp_url)


@router.post("/{name}/credentials/taken", status_code=204, responses=refusals({409: "The host was given others since"}))
async def taken(request: Request, caller: HostCaller, name: Label) -> None:
    """The host has its new credentials on its disk: whatever came before them ends, connections too."""
    if not is_host(caller, name):
        raise not_found("host of this token")
    room = workroom(request)
    assert caller.token_id is not None
    await room.host_access.taken_up(room.database, name, caller.token_id)


async def _shut_out(room: Workroom, name: str, queued: Queued) -> None:
    """Each for itself: what cannot be done now is done when users and queues are looked at next."""
    if room.host_access.users is not None:
        try:
            await room.host_access.users.drop(name)
        except ChassisError as error:
            log.warning("A revoked host is not yet shut out of the broker", host=name, reason=str(error))
    if queued is Queued.DRAIN:
        try:
            await remove_host(room.amqp_url, name)
        except ChassisError as error:
            log.warning("A revoked host still has its queues", host=name, reason=str(error))


async def _sharing(connection: Connection, caller: Caller, teams: Sequence[UUID], owner: UUID) -> list[UUID]:
    wanted = [each for each in dict.fromkeys(teams) if each != owner]
    if wanted and not caller.is_operator:
        raise ProblemError(Kind.FORBIDDEN, "Only an operator lets other teams use a host")
    for number, team in enumerate(wanted):
        if not await connection.fetchval(SQL.team_exists, team):
            field = f"shared_teams[{number}]"
            raise invalid([FieldError(field=field, message="There is no such team", hint="Name a team of GET /teams.")])
    return wanted


async def _own(connection: Connection, name: str) -> asyncpg.Record:
    """The host, if it is the caller's to change. Raises `not_found`, also when it is only shared."""
    record = await _host(connection, name)
    if not await connection.fetchval(SQL.is_own_host, name):
        raise not_found("host of this team")
    return record


async def _host(connection: Connection, name: str) -> asyncpg.Record:
    record = await connection.fetchrow(SQL.hosts_page, None, [name], 1)
    if record is None:
        raise not_found("host of this team")
    return record


async def _now(connection: Connection) -> datetime:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    return now


async def _told(
    connection: Connection,
    caller: Caller,
    team: UUID,
    action: str,
    name: str,
    now: datetime,
    detail: Mapping[str, Any],
) -> asyncpg.Record:
    """Write the change down for the audit and the pages of all who see the host; the host as it is then."""
    await connection.execute(STATEMENTS.audit, now, team, caller.name, action, f"host/{name}", detail)
    host = await _host(connection, name)
    await speak_for_all(connection)
    await locks.note_for_all(connection, "host", name, (host["team_id"], *host["shared_teams"]))
    return host
