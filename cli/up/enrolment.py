"""What a first start needs: the team, the token of who keeps the machine, the host with a secret to come in by.

The token is an operator's (it may verify and recover the installation) and belongs to the team, in whose name it makes
deployments. A home whose token is still an admin's, as before 0.2.0, has it raised.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cli.home import write_whole
from cli.up.statements import statement
from libs.contracts import manual_id
from libs.ledger.tokens import ENTROPY_BYTES, digest, make, prefix_of

TEAM = "default"
CREDENTIALS = "credentials.json"
"""Where a runner keeps what it was given, in its state folder."""


@dataclass(frozen=True)
class Enrolled:
    """The token of who keeps the machine, whether the host is admitted, and a secret if its runner has nothing."""

    admin_token: str
    host_is_admitted: bool
    host_secret: str | None


def enrol(owner_url: str, token_file: Path, host: str, state_dir: Path) -> Enrolled:
    """See to it that all of them are there. A token that the ledger does not know (any more) is replaced.

    So are the credentials that the host's runner keeps in `state_dir`: then it comes in with a new secret.
    """
    with psycopg.connect(owner_url) as connection:
        team = _team(connection)
        admin = token_file.read_text().strip() if token_file.exists() else ""
        if not _holds(connection, admin):
            admin = _token(connection, team, "operator of this machine", "operator")
        if connection.execute(statement("raise_to_operator"), {"prefix": prefix_of(admin)}).rowcount:
            _audit(connection, team, "raise", f"token/{prefix_of(admin)}")
        if connection.execute(statement("add_host"), {"name": host, "team_id": team}).rowcount:
            _audit(connection, team, "enrol", f"host/{host}")
        admitted = connection.execute(statement("host_is_admitted"), {"name": host}).fetchone() is not None
        secret = None
        if admitted and not _holds(connection, _kept_token(state_dir / CREDENTIALS)):
            (state_dir / CREDENTIALS).unlink(missing_ok=True)
            new = make(os.urandom(ENTROPY_BYTES))
            row = {"host_name": host, "prefix": new.prefix, "hash": new.hash}
            connection.execute(statement("put_enrolment"), row)
            _audit(connection, team, "enrol again", f"host/{host}")
            secret = new.token
    write_whole(token_file, f"{admin}\n", secret=True)
    return Enrolled(admin, admitted, secret)


def _kept_token(credentials: Path) -> str:
    try:
        return str(json.loads(credentials.read_text())["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


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


def _token(connection: psycopg.Connection[Any], team: UUID, name: str, role: str) -> str:
    new = make(os.urandom(ENTROPY_BYTES))
    row = {"id": _identity(), "team_id": team, "name": name, "role": role, "host_name": None}
    connection.execute(statement("add_token"), row | {"prefix": new.prefix, "hash": new.hash})
    _audit(connection, team, "create", f"token/{new.prefix}")
    return new.token


def _audit(connection: psycopg.Connection[Any], team: UUID, action: str, resource: str) -> None:
    connection.execute(statement("add_audit"), {"team_id": team, "action": action, "resource": resource})


def _identity() -> UUID:
    return manual_id(datetime.fromtimestamp(time.time(), UTC), os.urandom(10))
