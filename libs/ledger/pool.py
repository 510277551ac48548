"""Connections to the ledger (asyncpg), all set up alike: schema, name, JSON, and bounds a hung peer cannot pass."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from libs.chassis import tls
from libs.chassis.backoff import delays
from libs.chassis.logs import get_logger

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

log = get_logger(__name__)

DATABASE_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    # A session that ended while it was idle, and whose end was not read yet (asyncpg#1069).
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
    OSError,
)
"""What asyncpg raises when the database is away or ends our session: wait, and try again."""

CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
"""What it raises when somebody else was first: try again at once."""

_IDLE_IN_TRANSACTION = "15s"
"""A stopped process (SIGSTOP, a paused machine) must not hold row locks for ever: PostgreSQL ends its session."""


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


def _settings(application: str) -> dict[str, str]:
    return {
        "application_name": application,
        "search_path": "ledger",
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION,
        "timezone": "UTC",
        # A partitioned table's plan is made per call otherwise; with arrays of ids generic plans prune at run time.
        "jit": "off",
    }


async def create_pool(url: str, *, application: str, most: int = 8, statement_seconds: float = 30) -> Pool:
    """A pool of at most `most` connections; a statement ends after `statement_seconds`. Connects at once.

    With `sslmode=verify-full` in the url certificate and name are checked, by `sslrootcert` or by the system's
    authorities. Raises one of `DATABASE_AWAY`.
    """
    with _in_words(url):
        return await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=most,
            init=_prepare,
            command_timeout=statement_seconds,
            server_settings=_settings(application),
            timeout=10,
            ssl=tls.database_context(url),
        )


async def await_pool(url: str, *, application: str, most: int) -> Pool:
    """`create_pool`, tried until the database is there; a wrong password or database passes to the caller."""
    for pause in delays():
        try:
            return await create_pool(url, application=application, most=most)
        except DATABASE_AWAY as error:
            log.warning("Without the database", error=str(error), again_in_seconds=pause)
            await asyncio.sleep(pause)
    raise AssertionError("the pauses never end")


async def connect(
    url: str, *, application: str, statement_seconds: float | None = None
) -> asyncpg.Connection[asyncpg.Record]:
    """One connection of its own, for what belongs to a session: LISTEN, a lock. A statement ends after
    `statement_seconds`, if they are given.
    """
    with _in_words(url):
        connection = await asyncpg.connect(
            url,
            command_timeout=statement_seconds,
            server_settings=_settings(application),
            timeout=10,
            ssl=tls.database_context(url),
        )
    await _prepare(connection)
    return connection


@contextmanager
def _in_words(url: str) -> Iterator[None]:
    """What goes wrong with TLS is told with its cause; it may be mended at any time, so the database is away."""
    try:
        yield
    except ssl.SSLError as error:
        place = urlsplit(url).netloc.rpartition("@")[2]
        raise ConnectionError(f"no database at {place}: {tls.in_words(error) or error}") from error
