"""`rigbeat audit`: who changed what, from where, when."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Run, command
from cli.output import Column

_AT_ONCE = 50
_COLUMNS = (
    Column("at"),
    Column("actor"),
    Column("action"),
    Column("resource"),
    Column("address", spare=True),
    Column("token_prefix", spare=True),
    Column("detail", cut=True),
)


@command
def audit(
    run: Run,
    actor: Annotated[str | None, typer.Option(help="Only what this one did: the name of a token.")] = None,
    action: Annotated[list[str] | None, typer.Option(help="Only these, such as pause; may be given again.")] = None,
    resource: Annotated[
        str | None, typer.Option(help="Only of this one, such as host/lab-1, or of this kind, such as token.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Only since then, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Only before then, RFC 3339.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = _AT_ONCE,
) -> None:
    """List changes, newest first."""
    filters = {"actor": actor, "action": action or None, "resource": resource, "from": since, "to": until}
    with run.api() as api:
        run.out.many(api.items("/audit", filters, limit), _COLUMNS)
