"""Work in the caller's name: one transaction, seen through row level security."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from libs.ledger.pool import CONTENDED, Connection
from services.api.auth import Caller, speak_for
from services.api.database import Database

T = TypeVar("T")

ATTEMPTS = 3


@asynccontextmanager
async def transaction(database: Database, caller: Caller) -> AsyncIterator[Connection]:
    """A transaction of the caller's team. Raises what the database raises."""
    async with database.connection() as connection, connection.transaction():
        await speak_for(connection, caller)
        yield connection


async def change(database: Database, caller: Caller, work: Callable[[Connection], Awaitable[T]]) -> T:
    """The answer of `work` in one transaction; tried again when somebody else was first (deadlock), thrice in all."""
    for _ in range(ATTEMPTS - 1):
        try:
            async with transaction(database, caller) as connection:
                return await work(connection)
        except CONTENDED:
            continue
    async with transaction(database, caller) as connection:
        return await work(connection)
