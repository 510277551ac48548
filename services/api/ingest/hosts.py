"""A host says hello: who it is, what it has, what it holds. The answer is a `sync`, through the outbox."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from libs.chassis.logs import get_logger
from libs.contracts import HostHello, manual_id
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from services.api.core.projection import presume_lost
from services.api.ingest import executions, metrics
from services.api.ingest.desired_state import desired_state
from services.api.ingest.devices import resource
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)


async def greet(
    connection: Connection, hello: HostHello, changes: Changes, *, now: datetime, ledger_epoch: int
) -> str | None:
    """Take a hello in and answer it; a sentence when the host is unknown. A hello that was answered changes nothing.

    With a journal that is not the one that the ledger knows, the old disk is gone: what the host had taken and does not
    hold is presumed `host_lost`.
    """
    host = await connection.fetchrow(STATEMENTS.lock_host, hello.host)
    if host is None:
        return f"unknown host: {hello.host} was never enrolled"
    if host["revoked_at"] is not None:
        log.warning("A revoked host says hello and is not answered", host=hello.host)
        metrics.IGNORED.labels(hello.event).inc()
        return None
    command_id = answer_id(hello)
    if await connection.fetchval(STATEMENTS.is_answered, command_id):
        return None
    if host["journal_id"] not in {None, hello.journal_id}:
        lost = await executions.lock_lost(connection, hello.host, hello.held)
        await executions.write(connection, [(row, presume_lost(row, now)) for row in lost], changes)
        log.warning("A host came back with a new journal", host=hello.host, lost=len(lost))
    await connection.execute(
        STATEMENTS.update_host,
        hello.host,
        hello.runner_id,
        hello.runner_version,
        hello.journal_id,
        hello.boot_id,
        hello.max_parallel,
        now,
    )
    changed = await _replace_devices(connection, hello)
    await _replace_scripts(connection, hello)
    for team in (host["team_id"], *host["shared_teams"]):
        changes.note(team, "host", hello.host)
        for device in changed:
            changes.note(team, "device", resource(hello.host, device))
    sync = await desired_state(
        connection, hello.host, command_id, host_sent_at=hello.host_sent_at, now=now, ledger_epoch=ledger_epoch
    )
    await enclose(connection, [Parcel(host["team_id"], sync)])
    log.info("A host said hello", host=hello.host, runner_version=hello.runner_version, devices=len(hello.devices))
    return None


def answer_id(hello: HostHello) -> UUID:
    """The id of the sync that answers this hello: the same for every delivery of it, another for the next hello."""
    words = (hello.host, hello.journal_id, hello.runner_id, hello.boot_id, hello.host_sent_at.timestamp())
    return manual_id(hello.host_sent_at, sha256("\n".join(map(str, words)).encode()).digest())


async def _replace_devices(connection: Connection, hello: HostHello) -> set[str]:
    devices = {device.device_id: device for device in hello.devices}
    upserted = await connection.fetch(
        STATEMENTS.upsert_devices,
        hello.host,
        list(devices),
        [device.model for device in devices.values()],
        [json.dumps(device.labels) for device in devices.values()],
    )
    absent = await connection.fetch(STATEMENTS.absent_devices, hello.host, list(devices))
    return {record["device_id"] for record in (*upserted, *absent)}


async def _replace_scripts(connection: Connection, hello: HostHello) -> None:
    scripts = {script.name: script for script in hello.scripts}
    await connection.execute(STATEMENTS.delete_scripts, hello.host, list(scripts))
    await connection.execute(
        STATEMENTS.upsert_scripts,
        hello.host,
        list(scripts),
        [json.dumps([one.model_dump(mode="json") for one in script.parameters]) for script in scripts.values()],
    )
