"""Making deployments: one for each target, all or none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts import manual_id
from libs.ledger import channels
from libs.ledger.decisions import note
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.schedule import resolve_hash
from services.api.auth import Caller
from services.api.core import edit, names
from services.api.problems import invalid
from services.api.shapes.deployment import NewDeployment, Target
from services.api.shapes.problem import FieldError
from services.api.statements import SQL

_SHOWN = 10


async def create(connection: Connection, caller: Caller, wanted: NewDeployment) -> list[asyncpg.Record]:
    """The new rows, in the order of the targets. Raises `invalid-input` with every fault of every target."""
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
        faults += _place_faults(path, target, wanted.script_name, hosts.get(target.host_name))
    if faults:
        raise invalid(faults)
    made: list[asyncpg.Record] = []
    taken: dict[UUID, set[str]] = {}
    for _, target in places:
        # An operator may have no team: then the host's own is meant.
        team: UUID = caller.team_id or hosts[target.host_name]["team_id"]
        if team not in taken:
            base = wanted.name or names.default_name(wanted.script_name, now)
            taken[team] = {record["name"] for record in await connection.fetch(SQL.names_taken, team, base)}
        made.append(await _insert(connection, caller, wanted, target, team, now, first=not made, taken=taken[team]))
    await connection.execute(STATEMENTS.insert_versions, [record["id"] for record in made])
    for record in made:
        told = {"name": record["name"], "cron_expression": record["cron_expression"], "timezone": record["timezone"]}
        await connection.execute(
            STATEMENTS.audit, now, record["team_id"], caller.name, "create", f"deployment/{record['id']}", told
        )
    await note(connection, [(record["team_id"], "deployment", str(record["id"])) for record in made])
    await connection.execute(STATEMENTS.notify, channels.DUE, "")
    return made


def _place_faults(path: str, target: Target, script: str, host: Mapping[str, Any] | None) -> Iterator[FieldError]:
    if host is None or host["revoked_at"] is not None:
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
    if host["scripts"] and script not in host["scripts"]:
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
