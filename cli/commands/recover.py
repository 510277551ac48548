"""`rigbeat recover`: after a restore of the database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.errors import ExitCode
from cli.options import Run, command
from cli.output import Column

_ASK_AGAIN_SECONDS = 0.5


def _told(host: Mapping[str, Any]) -> str:
    if host["answered"]:
        return "sent its events again"
    if host["status"] == "offline":
        return "is away; it sends them when it is back"
    return "has not answered in time; what it sends still counts"


_COLUMNS = (Column("name"), Column("status"), Column("answered"), Column("what", _told))


@command
def recover(
    run: Run,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, max=3600, help="For hosts that do not answer.")
    ] = 30.0,
) -> None:
    """Bring the hosts in step with a restored database: nothing fires until they sent again what they know.

    Interrupted, call it again: it goes on. Exit code 1 when a host that is online has not answered in time.
    """
    with run.api() as api:
        state = api.post("/recover", {"wait_seconds": wait})
        run.out.note(f"Firing is held; the ledger's epoch is {state['ledger_epoch']}. Waiting for the hosts.")
        while not state["firing"]:
            time.sleep(_ASK_AGAIN_SECONDS)
            state = api.post("/recover", {"wait_seconds": wait, "ledger_epoch": state["ledger_epoch"]})
    if run.out.as_json:
        run.out.fields(state)
    else:
        run.out.many(state["hosts"], _COLUMNS)
        run.out.line(f"Firing goes on, in epoch {state['ledger_epoch']}.")
    if any(host["status"] == "online" and not host["answered"] for host in state["hosts"]):
        raise typer.Exit(ExitCode.NO)
