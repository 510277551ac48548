"""`rigbeat hosts enroll`, `renew`, `share`, `revoke`: which machines belong to the lab."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import completing
from cli.client import Json
from cli.commands.teams import TeamOption, team_id
from cli.options import Run, command
from cli.output import Column

_COLUMNS = (Column("name"), Column("status"), Column("team_id"), Column("shared_teams", spare=True))


def _of_host(name: str) -> Column:
    return Column(name, lambda made: made["host"][name])


_MADE = (_of_host("name"), _of_host("team_id"), Column("secret"))

Which = Annotated[str, typer.Argument(metavar="HOST", help="Its name.", autocompletion=completing.hosts)]
Sharing = Annotated[
    list[str] | None, typer.Option("--share", metavar="TEAM", help="A team that may use it, too; may be given again.")
]


@command
def enroll(
    run: Run,
    which: Annotated[str, typer.Argument(metavar="HOST", help="Lower-case letters, digits and dashes.")],
    team: TeamOption = None,
    share: Sharing = None,
    again: Annotated[
        bool, typer.Option("--again", help="A host that is there: for a new machine, or lost credentials.")
    ] = False,
) -> None:
    """Enrol a host. Its runner exchanges the secret (RIGBEAT_ENROLMENT_SECRET), which is printed this once."""
    with run.api() as api:
        if again:
            run.out.one(api.post(f"/hosts/{which}/enrol"), _MADE)
            return
        body: Json = {"name": which}
        if team is not None:
            body["team_id"] = team_id(api, team)
        if share:
            body["shared_teams"] = [team_id(api, each) for each in share]
        run.out.one(api.post("/hosts", body), _MADE)


@command
def renew(run: Run, which: Which) -> None:
    """Let a host take new credentials by itself, without a restart; the former end then."""
    with run.api() as api:
        run.out.one(api.post(f"/hosts/{which}/renew"), _COLUMNS)


@command
def share(
    run: Run,
    which: Which,
    teams: Annotated[list[str] | None, typer.Argument(metavar="TEAM", help="All who may use it besides; none.")] = None,
) -> None:
    """Say which other teams may use a host."""
    with run.api() as api:
        body = {"shared_teams": [team_id(api, each) for each in teams or []]}
        run.out.one(api.patch(f"/hosts/{which}", body), _COLUMNS)


@command
def revoke(
    run: Run,
    which: Which,
    drain: Annotated[bool, typer.Option("--drain", help="Drop what waits for it, with its queues.")] = False,
) -> None:
    """Revoke a host for good: it gets nothing more, and nothing that it says counts."""
    with run.api() as api:
        run.out.one(api.delete(f"/hosts/{which}?queued={'drain' if drain else 'keep'}") or {}, _COLUMNS)
