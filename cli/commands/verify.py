"""`rigbeat verify`: do the invariants hold?"""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import ExitCode
from cli.options import Run, command
from cli.output import Column

_SECONDS = 300.0
"""A day of a thousand deployments that fire each minute is more than a million rows to look at."""

_WORDS = {
    "I1": "one decision per fire",
    "I2": "one running, one pending",
    "I4": "one ending",
    "I5": "the limit is exact",
    "I7": "nothing stays stuck",
}

_COLUMNS = (
    Column("invariant"),
    Column("what", lambda check: _WORDS.get(check["invariant"], "")),
    Column("ok", lambda check: "ok" if check["ok"] else "BROKEN"),
    Column("rows"),
    Column("note", cut=True),
)


@command
def verify(
    run: Run,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="RFC 3339; default: a day ago, at most 31 days.")
    ] = None,
) -> None:
    """Check the invariants on the running system; nothing is changed. Exit code 1 when one is broken."""
    with run.api() as api:
        found = api.post("/verify", {"since": since} if since else None, within=_SECONDS)
    if run.out.as_json:
        run.out.fields(found)
    else:
        run.out.many(found["checks"], _COLUMNS)
        for check in found["checks"]:
            for example in check["examples"]:
                run.out.line(f"{check['invariant']}: {example}")
        run.out.line("All of it holds." if found["ok"] else "Not all of it holds.")
    if not found["ok"]:
        raise typer.Exit(ExitCode.NO)
