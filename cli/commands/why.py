"""`rigbeat why`: what became of a minute of a deployment, or will, and every check on the way."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.client import Api
from cli.commands.which import Which, deployment_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column
from libs.contracts import rfc3339
from libs.schedule import zone

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_MARKS = {True: "ok", False: "no", None: "-"}
_YES = {"ran", "will_run"}

_CHECKS = (
    Column("check"),
    Column("ok", lambda check: _MARKS[check["ok"]]),
    Column("sentence"),
)
_ACTIONS = (Column("action"), Column("label"), Column("method"), Column("path"))


@command
def why(
    run: Run,
    which: Which,
    when: Annotated[
        str | None,
        typer.Argument(
            metavar="[TIME]",
            help="RFC 3339; or HH:MM, today in the deployment's zone; or last, its latest execution. Default: now.",
        ),
    ] = None,
) -> None:
    """Say why a deployment ran or did not, at any minute, past or future. Exit code 1 when it did not, or will not."""
    with run.api() as api:
        identity = deployment_id(api, which)
        answer = api.get(f"/deployments/{identity}/why", {"at": _instant(api, identity, when)})
    if run.out.as_json:
        run.out.fields(answer)
    else:
        run.out.line(f"{answer['verdict']}: {answer['sentence']}")
        run.out.many(answer["checks"], _CHECKS)
        if answer["actions"]:
            run.out.line("What you can do:")
            run.out.many(answer["actions"], _ACTIONS)
    if answer["verdict"] not in _YES:
        raise typer.Exit(ExitCode.NO)


def _instant(api: Api, identity: str, when: str | None) -> str | None:
    if when is None:
        return None
    if when == "last":
        return _latest(api, identity)
    clock = _CLOCK.fullmatch(when)
    if clock is None:
        return when
    deployment: Mapping[str, Any] = api.get(f"/deployments/{identity}")
    today = datetime.fromtimestamp(time.time(), UTC).astimezone(zone(deployment["timezone"]))
    meant = today.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    return rfc3339(meant)


def _latest(api: Api, identity: str) -> str:
    found = api.items(f"/deployments/{identity}/executions", limit=1)
    if not found:
        raise CliError(ExitCode.NO, "It has no execution yet.")
    return str(found[0]["scheduled_at"])
