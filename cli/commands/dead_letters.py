"""`rigbeat dead-letters`: messages that nobody could use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.commands.which import is_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column

app = typer.Typer(no_args_is_help=True, help="Messages that nobody could use: list, show, requeue, close, drop.")

_AT_ONCE = 50

_COLUMNS = (
    Column("id"),
    Column("at"),
    Column("state"),
    Column("type"),
    Column("host_name"),
    Column("queue", spare=True),
    Column("requeued_as", spare=True),
    Column("settled_by", spare=True),
    Column("reason", cut=True),
)
_RUN = (Column("id"), Column("deployment_name"), Column("status"), Column("host_name"), Column("device_id"))


class State(StrEnum):
    """What became of it."""

    OPEN = "open"
    REQUEUED = "requeued"
    CLOSED = "closed"
    DROPPED = "dropped"


Which = Annotated[str, typer.Argument(metavar="LETTER", help="Its id.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept and shown.")]


@app.command("list")
@command
def list_letters(
    run: Run,
    state: Annotated[list[State] | None, typer.Option(help="Only these; may be given again.")] = None,
    host: Annotated[str | None, typer.Option(help="Only of this host.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only of this type, such as trigger.v1.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = _AT_ONCE,
) -> None:
    """List dead letters, newest first."""
    filters = {"state": [each.value for each in state or []], "host_name": host, "type": kind}
    with run.api() as api:
        run.out.many(api.items("/dead-letters", filters, limit), _COLUMNS)


@app.command()
@command
def show(run: Run, which: Which) -> None:
    """Show one dead letter, with its headers and what it carried."""
    with run.api() as api:
        run.out.fields(api.get(f"/dead-letters/{_id(which)}"))


@app.command()
@command
def requeue(run: Run, which: Which) -> None:
    """Run the deployment of a dead trigger once, now; the old message is not sent again."""
    with run.api() as api:
        run.out.one(api.post(f"/dead-letters/{_id(which)}/requeue"), _RUN)


@app.command()
@command
def close(run: Run, which: Which, reason: ReasonOption = None) -> None:
    """Say that a dead letter is dealt with."""
    _settle(run, which, "close", reason)


@app.command()
@command
def drop(run: Run, which: Which, reason: ReasonOption = None) -> None:
    """Say that nothing is to be done about a dead letter. It is kept, out of the way."""
    _settle(run, which, "drop", reason)


def _settle(run: Run, which: str, how: str, reason: str | None) -> None:
    with run.api() as api:
        run.out.one(
            api.post(f"/dead-letters/{_id(which)}/{how}", {} if reason is None else {"reason": reason}), _COLUMNS
        )


def _id(which: str) -> str:
    if not is_id(which):
        raise CliError(ExitCode.USAGE, f"{which!r} is not an id of a dead letter; see rigbeat dead-letters list.")
    return which
