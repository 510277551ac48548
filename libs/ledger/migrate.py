"""Bringing a database to the current schema. Needs the extra `migrate` (alembic, psycopg); no service imports this.

Migrations run as the owner of the schema, never as a service's role. Each is one transaction, and an advisory lock lets
several callers run at once: the second finds nothing to do.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command, op
from alembic.config import Config
from psycopg import sql

from libs.chassis.exposure import trusting

_HERE = Path(str(files("libs.ledger"))) / "migrations"
_LOCK = 7_163_265_391  # any number that nobody else locks

SERVICE_ROLES = ("rigbeat_api", "rigbeat_ingest", "rigbeat_scheduler")


def run_sql(name: str) -> None:
    """Execute a file of `migrations/sql`, whole, inside the running migration."""
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    # Without parameters psycopg sends the text as it is, so a file may hold several statements and any `%`.
    connection.execute((_HERE / "sql" / name).read_text().encode())


def checked(url: str) -> str:
    """The url as we connect with it: to another machine by TLS that is checked, unless it says otherwise itself."""
    return trusting(url, None, plaintext=False)


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database at `url` (`postgresql://owner:…`). Does nothing when it is current.

    Without an `sslmode` the url of another machine means `verify-full`; `sslrootcert` names who is trusted.
    Raises `psycopg.OperationalError` (inside sqlalchemy's wrapper) when the server is away.
    """
    engine = sqlalchemy.create_engine(
        checked(url).replace("postgresql://", "postgresql+psycopg://", 1), poolclass=sqlalchemy.NullPool
    )
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        connection.commit()
        try:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
        finally:
            connection.rollback()
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")
            connection.commit()
    engine.dispose()


def set_password(url: str, role: str, password: str) -> None:
    """Give a service's role its password (`url`: a role that may).

    The server is told only what it keeps of it: a log of statements must not hold passwords.
    """
    with psycopg.connect(checked(url)) as connection:
        kept = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(kept)))
