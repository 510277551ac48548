"""What the ledger knows of the devices that a schedule is meant for."""

from __future__ import annotations

from collections.abc import Sequence

from libs.ledger.pool import Connection
from services.api.auth import Caller, speak_for, speak_for_host
from services.api.core.conflicts import Other
from services.api.creation import place_faults
from services.api.preview import Surroundings
from services.api.shapes.deployment import Target
from services.api.shapes.preview import PreviewRequest
from services.api.statements import SQL

MOST_OTHERS = 2000
ANOTHER_TEAM = "another team"


async def surroundings(connection: Connection, caller: Caller, request: PreviewRequest) -> Surroundings | None:
    """Of the request's targets, None without any. The transaction must speak for `caller`, and does so in the end."""
    if request.targets is None:
        return None
    targets = request.targets
    names = sorted({target.host_name for target in targets})
    hosts = {record["name"]: dict(record) for record in await connection.fetch(SQL.places, names)}
    faults = [
        fault
        for number, target in enumerate(targets)
        for fault in place_faults(
            f"targets[{number}].", target, request.script_name, hosts.get(target.host_name), caller.team_id
        )
    ]
    others = await _others(connection, caller, request, [each for each in targets if each.host_name in hosts])
    notes = list(dict.fromkeys(fault.message for fault in faults))
    if len(others) == MOST_OTHERS:
        notes.append(f"There are many deployments on these devices; {MOST_OTHERS} of them were looked at")
    usual = None
    if request.script_name is not None:
        usual = await connection.fetchval(SQL.usual_duration, caller.only_team, request.script_name)
    return Surroundings(others, usual, notes)


async def _others(
    connection: Connection, caller: Caller, request: PreviewRequest, targets: Sequence[Target]
) -> list[Other]:
    if not targets:
        return []
    # A host may be shared: that somebody is due there, all who may use it are told; who it is, only the own team.
    await speak_for_host(connection)
    records = await connection.fetch(
        SQL.due_on_devices,
        [target.host_name for target in targets],
        [target.device_id for target in targets],
        caller.only_team,
        request.deployment_id,
        MOST_OTHERS,
    )
    await speak_for(connection, caller)
    return [
        Other(
            record["host_name"],
            record["device_id"],
            record["name"] or ANOTHER_TEAM,
            record["cron_expression"],
            record["timezone"],
            record["start_date"],
            record["end_date"],
        )
        for record in records
    ]
