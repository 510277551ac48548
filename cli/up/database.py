"""The ledger's database: made where it is ours, brought to the current schema, its roles given their passwords."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from sqlalchemy.exc import DBAPIError

from cli.errors import CliError, ExitCode
from cli.up.statements import statement
from libs.ledger.migrate import SERVICE_ROLES, set_password, upgrade
from libs.stack.postgres import Postgres

OWNER = "rigbeat"
DATABASE = "rigbeat"
ROLES = (OWNER, *SERVICE_ROLES)


@dataclass(frozen=True)
class Database:
    """`owner_url` owns the schema; `admin_url` may set passwords. The same where the database was given to us."""

    owner_url: str
    admin_url: str
    is_ours: bool = False

    def url(self, role: str, passwords: Mapping[str, str]) -> str:
        """The url of a service's role."""
        parts = urlsplit(self.owner_url)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{quote(passwords[role], safe='')}@{place}"))


def made(server: Postgres, passwords: Mapping[str, str]) -> Database:
    """The database and its owner on our own server, created when they are missing."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        if connection.execute(statement("has_owner")).fetchone() is None:
            connection.execute(statement("create_owner"))
        if connection.execute(statement("has_database")).fetchone() is None:
            connection.execute(statement("create_database"))
    set_password(server.superuser_url, OWNER, passwords[OWNER])
    return Database(server.url(DATABASE, OWNER, passwords[OWNER]), server.superuser_url, is_ours=True)


def _require_ours(database: Database, role: str, passwords: Mapping[str, str]) -> None:
    """Roles belong to the whole server: another system may live by this one's password, so it is never changed."""
    try:
        psycopg.connect(database.url(role, passwords)).close()
    except psycopg.OperationalError:
        raise CliError(
            ExitCode.NO,
            f"The role {role} exists on the given database server with a password that this home does not know; "
            "use the home that made it, or a server of its own.",
        ) from None


def migrated(database: Database, passwords: Mapping[str, str]) -> None:
    """The current schema, and the services' roles with their passwords. `CliError` when the server says no."""
    try:
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            known = {row[0] for row in connection.execute(statement("service_roles"), [list(SERVICE_ROLES)])}
        upgrade(database.owner_url)
        for role in SERVICE_ROLES:
            if role not in known or database.is_ours:
                set_password(database.admin_url, role, passwords[role])
            else:
                _require_ours(database, role, passwords)
    except (psycopg.Error, DBAPIError) as error:
        cause = getattr(error, "orig", None) or error
        parts = urlsplit(database.owner_url)
        where = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
        why = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        what_to_do = "look at its log" if database.is_ours else "see that it runs, and check RIGBEAT_DATABASE_URL"
        raise CliError(ExitCode.NO, f"The database at {where} cannot be prepared ({why}): {what_to_do}.") from error
