"""`rigbeat tokens`: what lets people and programs in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.client import Api, Json
from cli.commands.teams import TeamOption, team_id
from cli.commands.which import is_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column

app = typer.Typer(no_args_is_help=True, help="What lets people and programs in: list, create, revoke.")

_COLUMNS = (
    Column("id"),
    Column("name"),
    Column("role"),
    Column("prefix"),
    Column("last_used_at"),
    Column("expires_at"),
    Column("revoked_at", spare=True),
    Column("created_by", spare=True),
    Column("host_name", spare=True),
)
_DAY_SECONDS = 86_400


def _of_token(name: str) -> Column:
    return Column(name, lambda made: made["token"][name])


_MADE = (*(_of_token(name) for name in ("id", "name", "role", "expires_at")), Column("secret"))


class Role(StrEnum):
    """What a token may do; each may all that the former may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OPERATOR = "operator"


@app.command("list")
@command
def list_tokens(
    run: Run,
    ended: Annotated[bool, typer.Option("--ended", help="Also those that were revoked or have expired.")] = False,
) -> None:
    """List the team's tokens, newest first, without their secrets."""
    with run.api() as api:
        run.out.many(api.items("/tokens", {"ended": ended or None}), _COLUMNS)


@app.command()
@command
def create(
    run: Run,
    name: Annotated[str, typer.Argument(help="Whose it is, or what it is for.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.VIEWER,
    days: Annotated[int | None, typer.Option(min=1, help="It expires after so many days; never unless given.")] = None,
    team: TeamOption = None,
) -> None:
    """Make a token. Its secret is printed this once."""
    with run.api() as api:
        body: Json = {"name": name, "role": role.value}
        if days is not None:
            body["expires_in_seconds"] = days * _DAY_SECONDS
        if team is not None:
            body["team_id"] = team_id(api, team)
        made = api.post("/tokens", body)
        run.out.one(made, _MADE)


@app.command()
@command
def revoke(run: Run, which: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id or its prefix.")]) -> None:
    """Take a token back: the next request with it is refused."""
    with run.api() as api:
        run.out.one(api.delete(f"/tokens/{_id(api, which)}") or {}, _COLUMNS)


def _id(api: Api, which: str) -> str:
    if is_id(which):
        return which
    for token in api.items("/tokens", {"ended": True}):
        if token["prefix"] == which:
            return str(token["id"])
    raise CliError(ExitCode.REFUSED, f"There is no token {which!r}; see rigbeat tokens list.")
