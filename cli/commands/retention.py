"""`rigbeat retention`: what is kept, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column

app = typer.Typer(no_args_is_help=True, help="What is kept, and how long: show, set, run.")

_FOREVER = "forever"
_PLAN_SECONDS = 60.0


def _removed(run: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{one['count']} {one['kind']}" for one in run["removed"]) or "nothing"
    return f"{counts}; it broke off" if run["broke_off"] else counts


_POLICIES = (
    Column("kind"),
    Column("keep_days", lambda policy: _FOREVER if policy["keep_days"] is None else policy["keep_days"]),
    Column("least_days", spare=True),
    Column("kept_from"),
    Column("changed_at", spare=True),
    Column("changed_by", spare=True),
)
_RUNS = (
    Column("run", lambda run: run["id"]),
    Column("started_at"),
    Column("ended_at"),
    Column("removed", _removed, cut=True),
    Column("asked_by", spare=True),
)
_PLAN = (
    Column("kind"),
    Column("count", lambda item: f"{item['count']}{'+' if item['is_more'] else ''}"),
    Column("bytes"),
    Column("oldest"),
    Column("kept_from"),
)


class Kind(StrEnum):
    """What there is a policy for."""

    EXECUTIONS = "executions"
    VERSIONS = "versions"
    LOGS = "logs"
    ARTIFACTS = "artifacts"
    AUDIT = "audit"
    TOKENS = "tokens"
    DEAD_LETTERS = "dead_letters"


@app.command()
@command
def show(run: Run) -> None:
    """Show the policies, when the next run begins, and what the latest ones removed."""
    with run.api() as api:
        _show(run, api.get("/retention"))


@app.command("set")
@command
def set_policy(
    run: Run,
    kind: Annotated[Kind, typer.Argument(help="Of what.")],
    days: Annotated[str, typer.Argument(metavar="DAYS", help="Whole days, or forever.")],
) -> None:
    """Keep one kind for so many days. The next run goes by it."""
    if days != _FOREVER and not days.isdecimal():
        raise CliError(ExitCode.USAGE, f"{days!r} is neither a number of days nor {_FOREVER!r}.")
    with run.api() as api:
        body = {"keep_days": None if days == _FOREVER else int(days)}
        run.out.one(api.put(f"/retention/{kind.value}", body), _POLICIES)


@app.command("run")
@command
def run_now(
    run: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
) -> None:
    """Remove within seconds, instead of tomorrow, what is older than the policies."""
    with run.api() as api:
        if dry_run:
            run.out.many(api.get("/retention/plan", within=_PLAN_SECONDS)["items"], _PLAN)
        else:
            _show(run, api.post("/retention/run"))


def _show(run: Run, found: Mapping[str, Any]) -> None:
    if run.out.as_json:
        run.out.fields(found)
        return
    run.out.many(found["policies"], _POLICIES)
    run.out.line(f"The next run begins at {found['next_run_at']}.")
    run.out.many(found["runs"], _RUNS)
