"""`rigbeat login-link`: a browser signs in with what the command line has."""

from __future__ import annotations

from cli.options import Run, command
from cli.output import Column

_COLUMNS = (Column("url"), Column("expires_at", spare=True))


@command
def login_link(run: Run) -> None:
    """Print a link that signs a browser in, once, within ten minutes, with the rights of the token in use here."""
    with run.api() as api:
        run.out.one(api.post("/login-links"), _COLUMNS)
