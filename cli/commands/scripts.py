"""`rigbeat scripts`: what hosts can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.options import Run, command
from cli.output import Column

app = typer.Typer(no_args_is_help=True, help="What hosts can run.")


def _parameters(script: Mapping[str, Any]) -> str:
    return " ".join(parameter["name"] for parameter in script["parameters"])


_COLUMNS = (Column("host_name"), Column("name"), Column("parameters", _parameters, cut=True))


@app.command("list")
@command
def list_scripts(run: Run, host: Annotated[str | None, typer.Option(help="Only of this host.")] = None) -> None:
    """List the scripts that each host reported, with their parameters."""
    with run.api() as api:
        run.out.many(api.items("/scripts", {"host_name": host}), _COLUMNS)
