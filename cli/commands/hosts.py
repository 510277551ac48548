"""`rigbeat hosts`: machines with devices, and who has locked one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from cli.commands import devices, enrolment
from cli.options import Run, command
from cli.output import Column

app = typer.Typer(no_args_is_help=True, help="Machines with devices: list, show, lock, unlock, and who they are.")


def _devices(host: Mapping[str, Any]) -> str:
    return " ".join(f"{device['device_id']}={device['status']}" for device in host["devices"])


_COLUMNS = (
    Column("name"),
    Column("status"),
    Column("last_seen_at"),
    Column("runner_version", spare=True),
    Column("max_parallel", spare=True),
    Column("scripts", spare=True),
    Column("devices", _devices),
)


@app.command("list")
@command
def list_hosts(run: Run) -> None:
    """List the hosts, with their devices and what these do right now."""
    with run.api() as api:
        run.out.many(api.items("/hosts"), _COLUMNS)


app.command("show")(devices.show)
app.command("lock")(devices.lock)
app.command("unlock")(devices.unlock)
app.command("enroll")(enrolment.enroll)
app.command("renew")(enrolment.renew)
app.command("share")(enrolment.share)
app.command("revoke")(enrolment.revoke)
