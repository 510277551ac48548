"""A turn at deployments: their row locks, then the time, and only while firing is on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from libs.ledger.pool import Connection, Pool
from libs.ledger.statements import STATEMENTS as LEDGER


@dataclass(frozen=True, slots=True)
class Turn:
    """Deployments whose row locks are ours until the transaction ends; `now` was read after they were had."""

    connection: Connection
    records: Sequence[asyncpg.Record]
    now: datetime
    ledger_epoch: int


@asynccontextmanager
async def turn(pool: Pool, statement: str, most: int) -> AsyncIterator[Turn | None]:
    """At most `most` of what `statement` locks, in one transaction; None: nothing, or firing is held."""
    async with pool.acquire() as connection, connection.transaction():
        records = await connection.fetch(statement, most)
        clock = await connection.fetchrow(LEDGER.ledger_now) if records else None
        is_on = clock is not None and clock["firing"]
        yield Turn(connection, records, clock["now"], clock["ledger_epoch"]) if clock is not None and is_on else None
