"""`rigbeat teams`: who is apart from whom."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import Api
from cli.commands.which import is_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column

app = typer.Typer(no_args_is_help=True, help="Teams, which are apart: list, create.")

TeamOption = Annotated[str | None, typer.Option("--team", help="Its name or id; for an operator, who serves them all.")]
_COLUMNS = (Column("id"), Column("name"), Column("created_at", spare=True))


@app.command("list")
@command
def list_teams(run: Run) -> None:
    """List the own team, or for an operator all of them."""
    with run.api() as api:
        run.out.many(api.items("/teams"), _COLUMNS)


@app.command()
@command
def create(run: Run, name: Annotated[str, typer.Argument(help="A name that no other team has.")]) -> None:
    """Make a team. Its first admin comes with rigbeat tokens create --team."""
    with run.api() as api:
        run.out.one(api.post("/teams", {"name": name}), _COLUMNS)


def team_id(api: Api, which: str) -> str:
    """The id, or that of the team with this name."""
    if is_id(which):
        return which
    for team in api.items("/teams"):
        if team["name"] == which:
            return str(team["id"])
    raise CliError(ExitCode.REFUSED, f"There is no team {which!r}; see rigbeat teams list.")
