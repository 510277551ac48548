"""A ledger whose clock stands until it is set: weeks pass in seconds, and every moment is exact."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from tests.support.ledger import LedgerDatabase


class StoppedClock:
    """`ledger.now()` of one database."""

    def __init__(self, owner: asyncpg.Connection[asyncpg.Record]) -> None:
        self._owner = owner

    async def set(self, at: datetime) -> None:
        """It is `at` now, until it is set again."""
        await self._owner.execute("UPDATE ledger.test_clock SET at = $1", at)


@asynccontextmanager
async def a_stopped_clock(database: LedgerDatabase, at: datetime) -> AsyncIterator[StoppedClock]:
    """Stop the database's clock at `at`. Take the pools of the services after this."""
    owner = await asyncpg.connect(database.owner_url)
    try:
        await owner.execute(
            "CREATE TABLE ledger.test_clock (at timestamptz NOT NULL);"
            "GRANT SELECT ON ledger.test_clock TO PUBLIC;"
            "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE"
            " AS 'SELECT at FROM ledger.test_clock'"
        )
        await owner.execute("INSERT INTO ledger.test_clock VALUES ($1)", at)
        yield StoppedClock(owner)
    finally:
        await owner.close(timeout=5)
