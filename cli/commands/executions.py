"""`rigbeat executions`: what became of every fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli import completing, screen
from cli.commands import artifacts
from cli.commands.log import follow
from cli.commands.which import deployment_id, execution_id
from cli.options import Run, command
from cli.output import Column
from libs.contracts import ExecutionStatus, Reason

app = typer.Typer(no_args_is_help=True, help="What became of every fire: list, show, log, artifacts, report, cancel.")

_COLUMNS = (
    Column("id"),
    Column("deployment_name"),
    Column("status"),
    Column("reason"),
    Column("host_name", spare=True),
    Column("device_id", spare=True),
    Column("scheduled_at"),
    Column("late_seconds", spare=True),
    Column("duration_seconds", spare=True),
    Column("exit_code", spare=True),
    Column("message", cut=True, spare=True),
)
_AT_ONCE = 50

Which = Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")]


@app.command("list")
@command
def list_executions(
    run: Run,
    deployment: Annotated[
        str | None, typer.Option(help="Only of this one; its id or its name.", autocompletion=completing.deployments)
    ] = None,
    status: Annotated[list[ExecutionStatus] | None, typer.Option(help="Only these; may be given again.")] = None,
    reason: Annotated[list[Reason] | None, typer.Option(help="Only these; may be given again.")] = None,
    host: Annotated[str | None, typer.Option(help="Only on this host.", autocompletion=completing.hosts)] = None,
    device: Annotated[str | None, typer.Option(help="Only on this device.", autocompletion=completing.devices)] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="RFC 3339 with zone.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="RFC 3339 with zone.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = _AT_ONCE,
) -> None:
    """List the executions, newest first."""
    with run.api() as api:
        filters = {
            "deployment_id": None if deployment is None else deployment_id(api, deployment),
            "status": [each.value for each in status or []],
            "reason": [each.value for each in reason or []],
            "host_name": host,
            "device_id": device,
            "from": since,
            "to": until,
        }
        run.out.many(api.items("/executions", filters, limit), _COLUMNS)


@app.command()
@command
def show(run: Run, which: Which) -> None:
    """Show one execution with all its fields."""
    with run.api() as api:
        execution = api.get(f"/executions/{execution_id(which)}")
        run.out.fields(execution if run.out.as_json else _named(execution))


@app.command()
@command
def log(
    run: Run,
    which: Which,
    following: Annotated[bool, typer.Option("--follow", "-f", help="As it grows, until the execution ends.")] = False,
) -> None:
    """Print the log of an execution, byte by byte; on a terminal, what would steer it is shown instead."""
    path = f"/executions/{execution_id(which)}/log"
    with run.api() as api:
        if following:
            screen.write_text(follow(api, path))
            return
        with api.stream(path) as answer:
            screen.write(answer.iter_bytes())


@app.command()
@command
def cancel(run: Run, which: Which) -> None:
    """Ask the host to end it; it is cancelled when the host says so."""
    with run.api() as api:
        run.out.one(api.post(f"/executions/{execution_id(which)}/cancel"), _COLUMNS)


def _named(execution: Mapping[str, Any]) -> Mapping[str, Any]:
    """For people: the artifacts by their names."""
    return {**execution, "artifacts": ", ".join(artifact["name"] for artifact in execution["artifacts"])}


artifacts.add_to(app)
