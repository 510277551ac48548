"""`rigbeat deployments`: what is scheduled, and changing it."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import completing
from cli.commands.deployment_columns import COLUMNS
from cli.commands.deployment_forms import copy, create, edit
from cli.commands.many import act
from cli.commands.which import Which, Whiches, deployment_id
from cli.options import Run, command
from libs.contracts import DeploymentStatus

app = typer.Typer(
    no_args_is_help=True, help="What is scheduled: list, create, copy, edit, pause, resume, stop, run, delete."
)

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept and shown.")]


@app.command("list")
@command
def list_deployments(
    run: Run,
    status: Annotated[list[DeploymentStatus] | None, typer.Option(help="Only these; may be given again.")] = None,
    host: Annotated[str | None, typer.Option(help="Only of this host.", autocompletion=completing.hosts)] = None,
    device: Annotated[str | None, typer.Option(help="Only of this device.", autocompletion=completing.devices)] = None,
    script: Annotated[str | None, typer.Option(help="Only of this script.", autocompletion=completing.scripts)] = None,
    text: Annotated[str | None, typer.Option(help="Only with this text in it.")] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all unless given.")] = None,
) -> None:
    """List the deployments, newest first."""
    filters = {
        "status": [each.value for each in status or []],
        "host_name": host,
        "device_id": device,
        "script_name": script,
        "q": text,
        "deleted": deleted or None,
    }
    with run.api() as api:
        run.out.many(api.items("/deployments", filters, limit), COLUMNS)


@app.command()
@command
def show(run: Run, which: Which) -> None:
    """Show one deployment with all its fields."""
    with run.api() as api:
        run.out.fields(api.get(f"/deployments/{deployment_id(api, which)}"))


app.command()(create)
app.command()(edit)
app.command()(copy)


@app.command()
@command
def pause(run: Run, which: Whiches, reason: ReasonOption = None) -> None:
    """Fire no more until it is resumed."""
    act(run, which, "pause", reason)


@app.command()
@command
def resume(run: Run, which: Whiches, reason: ReasonOption = None) -> None:
    """Fire again from now on; what fell into the pause is not missed."""
    act(run, which, "resume", reason)


@app.command()
@command
def stop(run: Run, which: Whiches, reason: ReasonOption = None) -> None:
    """Fire no more, ever."""
    act(run, which, "stop", reason)


@app.command("run")
@command
def run_now(run: Run, which: Whiches, reason: ReasonOption = None) -> None:
    """Run it once, now, besides its schedule."""
    act(run, which, "run", reason)


@app.command()
@command
def delete(run: Run, which: Whiches, reason: ReasonOption = None) -> None:
    """Stop it and take it out of the lists; its history stays."""
    act(run, which, "delete", reason)
