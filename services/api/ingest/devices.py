"""What devices do, as their hosts say it: in a heartbeat all of them, in `device.changed` one."""

from __future__ import annotations

from collections.abc import Mapping

from libs.contracts import DeviceState
from libs.ledger.pool import Connection
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS


async def update(connection: Connection, states: Mapping[tuple[str, str], DeviceState], changes: Changes) -> None:
    """Write the states, by `(host, device)`, that are news; a device that the ledger does not know is left out."""
    if not states:
        return
    ordered = sorted(states)
    records = await connection.fetch(
        STATEMENTS.update_devices,
        [host for host, _ in ordered],
        [device for _, device in ordered],
        [states[key].status for key in ordered],
        [states[key].execution_id for key in ordered],
        # An array of arrays would have to be a rectangle.
        ["{" + ",".join(map(str, states[key].pending)) + "}" for key in ordered],
    )
    for record in records:
        for team in (record["team_id"], *record["shared_teams"]):
            changes.note(team, "device", resource(record["host_name"], record["device_id"]))


def resource(host: str, device_id: str) -> str:
    """A device's id in the change feed: a host's name has no slash."""
    return f"{host}/{device_id}"
