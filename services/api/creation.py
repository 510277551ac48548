"""Making deployments: one for each target, all or none; or a copy of one, whatever became of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts import Change, manual_id
from libs.ledger import channels
from libs.ledger.decisions import note, tell_host
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS
from libs.schedule import resolve_hash
from services.api.auth import Caller
from services.api.core import edit, names
from services.api.core.difference import difference, in_detail
from services.api.problems import invalid, not_found
from services.api.shapes.copy import COPIED, DeploymentCopy
from services.api.shapes.deployment import NewDeployment, Target
from services.api.shapes.problem import FieldError
from services.api.statements import SQL

_SHOWN = 10


async def create(connection: Connection, caller: Caller, wanted: NewDeployment) -> list[asyncpg.Record]:
    """The new rows, in the order of the targets. Raises `invalid-input` with every fault of every target."""
    return await _create(connection, caller, wanted, caller.team_id)


async def copy(
    connection: Connection, caller: Caller, deployment_id: UUID, differing: DeploymentCopy
) -> asyncpg.Record:
    """A new deployment like this one, of the same team, but for what is given; it may be over or deleted.

    It begins anew: nothing counted, active. Raises `not-found`, and `invalid-input` as `create` does: an end date that
    has passed must be given anew.
    """
    source = await connection.fetchrow(SQL.deployment, deployment_id)
    if source is None:
        raise not_found("deployment")
    (made,) = await _create(connection, caller, differing.of(dict(source)), source["team_id"], source=dict(source))
    return made


async def _create(
    connection: Connection,
    caller: Caller,
    wanted: NewDeployment,
    of_team: UUID | None,
    *,
    source: Mapping[str, Any] | None = None,
) -> list[asyncpg.Record]:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    places = wanted.places()
    hosts = {
        record["name"]: dict(record)
        for record in await connection.fetch(SQL.places, sorted({target.host_name for _, target in places}))
    }
    faults = [
        FieldError(field=each.field, message=each.message, hint=each.hint)
        for each in edit.date_faults(wanted.start_date, wanted.end_date, now)
    ]
    for path, target in places:
        faults += place_faults(path, target, wanted.script_name, hosts.get(target.host_name), of_team)
    if faults:
        raise invalid(faults)
    made: list[asyncpg.Record] = []
    taken: dict[UUID, set[str]] = {}
    for _, target in places:
        # An operator may have no team: then the host's own is meant.
        team: UUID = of_team or hosts[target.host_name]["team_id"]
        if team not in taken:
            base = wanted.name or names.default_name(wanted.script_name, now)
            taken[team] = {record["name"] for record in await connection.fetch(SQL.names_taken, team, base)}
        made.append(await _insert(connection, caller, wanted, target, team, now, first=not made, taken=taken[team]))
    await connection.execute(STATEMENTS.insert_versions, [record["id"] for record in made])
    for record in made:
        await connection.execute(
            STATEMENTS.audit,
            now,
            record["team_id"],
            caller.name,
            "create" if source is None else "copy",
            f"deployment/{record['id']}",
            _told(dict(record), source),
        )
    message = f"copied from {source['name']}" if source is not None else ""
    rows = [DeploymentRow.of(record) for record in made]
    await tell_host(connection, [(row, Change.CREATED, row.status, message, caller.name) for row in rows], now=now)
    await note(connection, [(record["team_id"], "deployment", str(record["id"])) for record in made])
    await connection.execute(STATEMENTS.notify, channels.DUE, "")
    return made


def _told(record: Mapping[str, Any], source: Mapping[str, Any] | None) -> dict[str, Any]:
    shown = ("name", "host_name", "device_id", "script_name", "cron_expression", "timezone")
    told: dict[str, Any] = {name: record[name] for name in shown}
    if source is not None:
        told["copied_from"] = str(source["id"])
        told["changes"] = in_detail(difference(source, record, COPIED))
    return told


def place_faults(
    path: str, target: Target, script: str | None, host: Mapping[str, Any] | None, team: UUID | None
) -> Iterator[FieldError]:
    """What is wrong with running `script` there for this team (None: the host's own); `host` as the ledger knows it."""
    # An operator sees every host; a deployment still goes only where its team may go.
    usable = host is not None and (team is None or team == host["team_id"] or team in host["shared_teams"])
    if host is None or host["revoked_at"] is not None or not usable:
        yield FieldError(
            field=f"{path}host_name",
            message=f"There is no host {target.host_name}",
            hint="GET /api/v1/hosts lists them.",
        )
        return
    if target.device_id not in host["devices"]:
        yield FieldError(
            field=f"{path}device_id",
            message=f"{target.host_name} has no device {target.device_id}",
            hint=_one_of(target.device_id, host["devices"], "It has not reported any device yet."),
        )
    if script is not None and host["scripts"] and script not in host["scripts"]:
        yield FieldError(
            field="script_name",
            message=f"{target.host_name} has no script {script}",
            hint=_one_of(script, host["scripts"], ""),
        )


def _one_of(wrong: str, known: Sequence[str], without: str) -> str:
    if not known:
        return without
    alike = get_close_matches(wrong, known, 1)
    if alike:
        return f"Did you mean {alike[0]}?"
    more = ", …" if len(known) > _SHOWN else ""
    return f"It has {', '.join(known[:_SHOWN])}{more}."


async def _insert(
    connection: Connection,
    caller: Caller,
    wanted: NewDeployment,
    target: Target,
    team: UUID,
    now: datetime,
    *,
    first: bool,
    taken: set[str],
) -> asyncpg.Record:
    """The row, under the first name that is free. A name that a person chose changes for further targets only.

    `taken`: the names like it that are in use; the one that is given joins them.
    """
    base = wanted.name or names.default_name(wanted.script_name, now)
    chosen = wanted.name is not None and first
    for name in [base] if chosen else names.candidates(base, taken):
        cron = resolve_hash(wanted.cron_expression, f"{team}/{name}")
        values: dict[str, Any] = {
            "cron_expression": cron,
            "timezone": wanted.timezone,
            "start_date": wanted.start_date,
            "end_date": wanted.end_date,
            "counted_from": now,
        }
        following = edit.next_of(values, after=now, inclusive=True)
        record = await connection.fetchrow(
            SQL.insert_deployment,
            manual_id(now, os.urandom(10)),
            team,
            name,
            target.host_name,
            target.device_id,
            wanted.script_name,
            wanted.userinterface_name if target.userinterface_name is None else target.userinterface_name,
            wanted.parameters,
            cron,
            wanted.timezone,
            wanted.start_date,
            wanted.end_date,
            wanted.max_executions,
            wanted.catch_up,
            wanted.catch_up_window_seconds,
            wanted.on_device_busy,
            wanted.max_wait_seconds,
            wanted.timeout_seconds,
            wanted.silence_timeout_seconds,
            now,
            following["next_fire_at"],
            following["next_due_at"],
            caller.name,
        )
        taken.add(name)
        if record is not None:
            return record
    message = f"There is a deployment {base} already"
    raise invalid([FieldError(field="name", message=message, hint="Choose another name, or give none.")])
