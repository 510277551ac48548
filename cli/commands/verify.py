"""`rigbeat verify`: do the invariants hold?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from cli.errors import ExitCode
from cli.options import Run, command
from cli.output import Column

_SECONDS = 300.0
"""A day of a thousand deployments that fire each minute is more than a million rows to look at."""

WORDS = {
    "missing_fires": "fires without a row",
    "extra_fires": "rows without a fire",
    "misnamed_fires": "rows with another id than their fire's",
    "facts_without_execution": "hosts told of runs that are nobody's",
    "two_at_once": "two runs, or two waiting, at once",
    "overlapping_runs": "runs that overlapped",
    "overlapping_waits": "waits that overlapped",
    "contradictory_endings": "endings that do not fit together",
    "repeated_ids": "runs that their host ended twice",
    "wrong_counts": "counts that are not those of the rows",
    "over_limit": "more attempts than the limit",
    "stuck_executions": "open for longer than they may be",
    "held_for_nothing": "held, with nothing before them",
    "unsent_messages": "messages that do not get out",
    "locks_of_finished_runs": "devices taken by finished runs",
    "expired_locks": "locks beyond their end",
    "overdue_fires": "due and not decided",
    "firing_held": "firing is held back",
}

_COLUMNS = (
    Column("invariant"),
    Column("check"),
    Column("ok", lambda check: "ok" if check["ok"] else "BROKEN"),
    Column("rows"),
    Column("what", lambda check: WORDS.get(check["check"], ""), spare=True),
    Column("note", cut=True),
)


def _lines(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each check. An API of 0.2 knows only whole invariants."""
    return [
        {"check": "", **one, "invariant": whole["invariant"], "note": whole["note"]}
        for whole in checks
        for one in whole.get("by_check") or [whole]
    ]


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
        lines = _lines(found["checks"])
        run.out.many(lines, _COLUMNS)
        for line in lines:
            for example in line["examples"]:
                run.out.line(f"{line['check'] or line['invariant']}: {example}")
        run.out.line("All of it holds." if found["ok"] else "Not all of it holds.")
    if not found["ok"]:
        raise typer.Exit(ExitCode.NO)
