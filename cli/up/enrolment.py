"""The team, the token of who keeps the machine and the host with its own, so that a first start can be used at once.

The token is an operator's (it may verify and recover the installation) and belongs to the team, in whose name it makes
deployments. A home whose token is still an admin's, as before 0.2.0, has it raised.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cli.home import write_whole
from cli.up.drawn import Drawn
from cli.up.statements import statement
from libs.contracts import manual_id
from libs.ledger.tokens import ENTROPY_BYTES, digest, make, prefix_of

TEAM = "default"


@dataclass(frozen=True)
class Enrolled:
    """The token of who keeps the machine, and the host's; None when somebody has revoked the host."""

    admin_token: str
    host_token: str | None


def enrol(owner_url: str, token_file: Path, host: str, drawn: Drawn) -> Enrolled:
    """See to it that all of them are there. A token that the ledger does not know (any more) is replaced.

    What is new of the host goes to `drawn`, which the caller keeps.
    """
    with psycopg.connect(owner_url) as connection:
        team = _team(connection)
        admin = token_file.read_text().strip() if token_file.exists() else ""
        if not _holds(connection, admin):
            admin = _token(connection, team, "operator of this machine", "operator", None)
        if connection.execute(statement("raise_to_operator"), {"prefix": prefix_of(admin)}).rowcount:
            _audit(connection, team, "raise", f"token/{prefix_of(admin)}")
        if connection.execute(statement("add_host"), {"name": host, "team_id": team}).rowcount:
            _audit(connection, team, "enrol", f"host/{host}")
        admitted = connection.execute(statement("host_is_admitted"), {"name": host}).fetchone() is not None
        if admitted and not _holds(connection, drawn.host_tokens.get(host, "")):
            drawn.host_tokens[host] = _token(connection, team, f"host {host}", "host", host)
    write_whole(token_file, f"{admin}\n", secret=True)
    return Enrolled(admin, drawn.host_tokens[host] if admitted else None)


def _team(connection: psycopg.Connection[Any]) -> UUID:
    connection.execute(statement("add_team"), {"id": _identity(), "name": TEAM})
    row = connection.execute(statement("team_id"), {"name": TEAM}).fetchone()
    assert row is not None
    identity: UUID = row[0]
    return identity


def _holds(connection: psycopg.Connection[Any], token: str) -> bool:
    prefix = prefix_of(token)
    if prefix is None:
        return False
    return (
        connection.execute(statement("token_holds"), {"prefix": prefix, "hash": digest(token)}).fetchone() is not None
    )


def _token(connection: psycopg.Connection[Any], team: UUID, name: str, role: str, host: str | None) -> str:
    new = make(os.urandom(ENTROPY_BYTES))
    row = {"id": _identity(), "team_id": team, "name": name, "role": role, "host_name": host}
    connection.execute(statement("add_token"), row | {"prefix": new.prefix, "hash": new.hash})
    _audit(connection, team, "create", f"token/{new.prefix}")
    return new.token


def _audit(connection: psycopg.Connection[Any], team: UUID, action: str, resource: str) -> None:
    connection.execute(statement("add_audit"), {"team_id": team, "action": action, "resource": resource})


def _identity() -> UUID:
    return manual_id(datetime.fromtimestamp(time.time(), UTC), os.urandom(10))
