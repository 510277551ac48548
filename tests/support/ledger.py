"""A ledger of its own for each test: a copy of a database that was migrated once, with the real roles.

`ledger_database` needs the fixture `postgres` (tests/support/servers.py), of which it takes `superuser_url`; a server
that runs already is named with `--postgres-url`. No test reaches around row level security by accident: the services'
urls are those of their roles, and only `owner_url` sees everything.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from libs.contracts import manual_id
from libs.ledger.tokens import make

OWNER = "rigbeat"
_PASSWORD = "only-for-tests"
_numbers = itertools.count(1)
_EARLY_SECOND = 5.0
_begun_ahead: dict[str, float] = {}
"""By database: the seconds by which its clock is ahead of the true one before a test shifts it."""
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LedgerDatabase:
    """One database with the current schema; every url is `postgresql://role:password@host:port/name`."""

    name: str
    superuser_url: str
    owner_url: str
    api_url: str
    ingest_url: str
    scheduler_url: str

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Run one statement as the owner (all teams) with `%s` parameters; the rows that it gives."""
        with psycopg.connect(self.owner_url, options="-c search_path=ledger,public") as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return [] if cursor.description is None else cursor.fetchall()  # no column is a row, too

    def team(self, name: str) -> UUID:
        """A new team."""
        identity = _identity()
        self.execute("INSERT INTO teams (id, name) VALUES (%s, %s)", (identity, name))
        return identity

    def host(self, name: str, team: UUID, devices: Sequence[str] = (), *, scripts: Sequence[str] = ()) -> None:
        """A host that was enrolled and has said hello."""
        self.execute("INSERT INTO hosts (name, team_id, last_seen_at) VALUES (%s, %s, ledger.now())", (name, team))
        for device in devices:
            self.execute("INSERT INTO devices (host_name, device_id) VALUES (%s, %s)", (name, device))
        for script in scripts:
            self.execute("INSERT INTO host_scripts (host_name, name) VALUES (%s, %s)", (name, script))

    def token(self, team: UUID | None, role: str, *, host: str | None = None) -> str:
        """A new token of this role, whole."""
        made = make(os.urandom(40))
        self.execute(
            "INSERT INTO api_tokens (id, team_id, name, role, host_name, prefix, hash) VALUES (%s,%s,%s,%s,%s,%s,%s)",
            (_identity(), team, f"{role}-token", role, host, made.prefix, made.hash),
        )
        return made.token


def made_ledger(superuser_url: str, name: str) -> LedgerDatabase:
    """A new database with the current schema on this server, and its roles with their passwords."""
    # Here, because alembic and sqlalchemy take their time, and most tests need no ledger.
    from libs.ledger.migrate import SERVICE_ROLES, set_password, upgrade

    with psycopg.connect(superuser_url, autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone():
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(OWNER)))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    set_password(superuser_url, OWNER, _PASSWORD)
    upgrade(_url(superuser_url, OWNER, name))
    for role in SERVICE_ROLES:
        set_password(superuser_url, role, _PASSWORD)
    return _named(superuser_url, name)


def shift_now(database: LedgerDatabase, seconds: float) -> None:
    """Let `ledger.now()` of this database be `seconds` ahead of where it began (negative: behind) from now on."""
    ahead = _begun_ahead.get(database.name, 0.0) + seconds
    database.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE "
        f"AS 'SELECT clock_timestamp() + interval ''{ahead!r} seconds'''"
    )


def begin_early_in_a_minute(database: LedgerDatabase) -> None:
    """Let this database's clock be up to a minute ahead, so that a full minute has just passed and the next is far.

    For tests that count fires: while they cross the end of a minute, every deployment is due once more than they think.
    """
    [(second,)] = database.execute("SELECT extract(second FROM clock_timestamp())")
    _begun_ahead[database.name] = (60 + _EARLY_SECOND - float(second)) % 60
    shift_now(database, 0.0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-url",
        default=None,
        help="a PostgreSQL that runs already: postgresql://superuser:password@host:port/db",
    )


@pytest.fixture(scope="session")
def superuser_url(request: pytest.FixtureRequest) -> str:
    """The superuser's url of the tests' server."""
    given = request.config.getoption("--postgres-url")
    return str(given or request.getfixturevalue("postgres").superuser_url)


@pytest.fixture(scope="session")
def ledger_template(superuser_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody connects to, so that it can be copied."""
    name = f"rigbeat_template_{os.getpid()}"
    try:
        made_ledger(superuser_url, name)
        yield name
    finally:
        _drop(superuser_url, name)


@pytest.fixture
def ledger_database(superuser_url: str, ledger_template: str) -> Iterator[LedgerDatabase]:
    """A fresh ledger: no team, no host, the true time."""
    with _copy(superuser_url, ledger_template) as database:
        yield database


@pytest.fixture(scope="module")
def module_ledger_database(superuser_url: str, ledger_template: str) -> Iterator[LedgerDatabase]:
    """A ledger that the tests of a module share."""
    with _copy(superuser_url, ledger_template) as database:
        yield database


@contextmanager
def _copy(superuser_url: str, template: str) -> Iterator[LedgerDatabase]:
    name = f"rigbeat_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(superuser_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(OWNER)
            )
        )
    try:
        yield _named(superuser_url, name)
    finally:
        _drop(superuser_url, name)


def _named(superuser_url: str, name: str) -> LedgerDatabase:
    return LedgerDatabase(
        name=name,
        superuser_url=_url(superuser_url, None, name),
        owner_url=_url(superuser_url, OWNER, name),
        api_url=_url(superuser_url, "rigbeat_api", name),
        ingest_url=_url(superuser_url, "rigbeat_ingest", name),
        scheduler_url=_url(superuser_url, "rigbeat_scheduler", name),
    )


def _identity() -> UUID:
    return manual_id(_EPOCH, os.urandom(10))


def _drop(superuser_url: str, name: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(superuser_url: str, role: str | None, database: str) -> str:
    parts = urlsplit(superuser_url)
    who = f"{role}:{_PASSWORD}" if role else f"{parts.username}:{parts.password or ''}"
    query = f"?{parts.query}" if parts.query else ""
    return f"postgresql://{who}@{parts.hostname}:{parts.port}/{database}{query}"
