"""Reading what "why" is answered from: the deployment's history, the row of the minute, who was on the device."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.contracts import DeploymentStatus, ExecutionStatus, Kind, OnDeviceBusy, Reason, fire_id, first_id
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api.core.why import Answer, explain
from services.api.core.why_facts import Facts, Neighbour, Place, Run, Version
from services.api.problems import not_found
from services.api.statements import SQL

_MINUTE = timedelta(minutes=1)
_LONGEST_RUN = timedelta(days=2)
_NOBODY = UUID(int=0)


async def why(connection: Connection, deployment_id: UUID, at: datetime | None) -> tuple[datetime, Answer]:
    """The minute that holds `at` (default: now), and what became or will become of it. Raises `not-found`."""
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    at = at or now
    minute = at.replace(second=0, microsecond=0)
    facts = await _facts(connection, deployment_id, minute, at, now, firing=moment["firing"])
    return minute, explain(facts)


async def _facts(
    connection: Connection, deployment_id: UUID, minute: datetime, at: datetime, now: datetime, *, firing: bool
) -> Facts:
    deployment = await connection.fetchrow(SQL.why_deployment, deployment_id, minute)
    if deployment is None:
        raise not_found("deployment")
    versions = await connection.fetch(SQL.why_versions, deployment_id)
    run = await connection.fetchrow(
        SQL.why_run, deployment_id, fire_id(deployment_id, minute), first_id(minute), first_id(minute + _MINUTE), at
    )
    is_to_come = minute > now
    counted, in_flight = deployment["execution_count"], 0
    if not is_to_come and any(version["max_executions"] is not None for version in versions):
        counted = await connection.fetchval(SQL.why_counted, deployment_id, first_id(minute))
    if is_to_come and deployment["max_executions"] is not None:
        in_flight = await connection.fetchval(SQL.under_way, deployment_id)
    return Facts(
        deployment_id=deployment_id,
        now=now,
        minute=minute,
        versions=tuple(map(_version, versions)),
        created_at=deployment["created_at"],
        created_by=deployment["created_by"],
        counted=counted,
        in_flight=in_flight,
        run=_run(run) if run is not None else None,
        neighbour=await _neighbour(connection, deployment, run, now),
        place=_place(deployment),
        typical_seconds=await connection.fetchval(SQL.why_typical, deployment_id, first_id(minute)),
        next_fire_at=deployment["next_fire_at"],
        firing=firing,
        in_backlog=deployment["in_backlog"],
        kept_from=await connection.fetchval(STATEMENTS.kept_from, "executions"),
    )


async def _neighbour(
    connection: Connection, deployment: asyncpg.Record, run: asyncpg.Record | None, now: datetime
) -> Neighbour | None:
    """Who is on the device: when the run was decided, or now where it is still to be decided."""
    is_decided = run is not None and run["status"] not in {ExecutionStatus.QUEUED, ExecutionStatus.TRIGGERED}
    instant = run["decided_at"] if run is not None and is_decided else now
    found = await connection.fetchrow(
        SQL.why_neighbour,
        deployment["host_name"],
        deployment["device_id"],
        deployment["id"],
        instant,
        first_id(instant - _LONGEST_RUN),
        run["id"] if run is not None else _NOBODY,
    )
    return Neighbour(**dict(found)) if found is not None else None


def _version(record: asyncpg.Record) -> Version:
    values = dict(record)
    values["status"] = DeploymentStatus(values["status"])
    values["on_device_busy"] = OnDeviceBusy(values["on_device_busy"])
    return Version(**values)


def _run(record: asyncpg.Record) -> Run:
    values = dict(record)
    values["kind"], values["status"] = Kind(values["kind"]), ExecutionStatus(values["status"])
    values["reason"] = Reason(values["reason"]) if values["reason"] is not None else None
    return Run(**values)


def _place(record: asyncpg.Record) -> Place:
    return Place(**{name: record[name] for name in Place.__slots__})
