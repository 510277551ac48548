"""A session that holds one lock of the ledger: of several processes one does a thing, for as long as it lives.

The others try again each time, so that another one takes over when it ends. A process that is stopped, not ended, loses
the session when it has been idle for too long.
"""

from __future__ import annotations

import asyncpg

from libs.ledger.pool import DATABASE_AWAY, connect
from libs.ledger.statements import STATEMENTS

_STATEMENT_SECONDS = 10.0
"""The server ends a statement then; we give the server up some seconds later."""
_ANSWER_SECONDS = 15.0
_CLOSE_SECONDS = 2.0


class SoleSession:
    """One, or none while another process has it."""

    def __init__(self, url: str, *, application: str, lock: str, idle_seconds: float, lock_seconds: float = 0) -> None:
        """`lock_seconds`: how long a statement waits for other locks than this one (0: as long as it may take)."""
        self._url = url
        self._application = application
        self._lock = lock
        self._bounds = (_STATEMENT_SECONDS, lock_seconds, idle_seconds)
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def connection(self) -> asyncpg.Connection[asyncpg.Record] | None:
        """The one with the lock; None while another process has it. Raises what the database raises."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        connection = await connect(self._url, application=self._application, statement_seconds=_ANSWER_SECONDS)
        try:
            if await connection.fetchval(STATEMENTS.hold_alone, self._lock, *self._bounds):
                self._connection = connection
                return connection
        finally:
            if self._connection is not connection:
                await connection.close(timeout=_CLOSE_SECONDS)
        return None

    async def close(self) -> None:
        """Let go of the lock; another process may take over. Raises nothing that the database may raise."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=_CLOSE_SECONDS)
        except (*DATABASE_AWAY, asyncpg.PostgresError):
            connection.terminate()
