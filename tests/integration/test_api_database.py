"""A web worker's connections in its first moments."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.api.database import ACQUIRE_SECONDS, Database
from services.api.problems import ProblemError
from services.api.shapes.problem import Kind
from tests.support.ledger import LedgerDatabase


async def test_the_first_requests_of_a_worker_wait_for_its_pool(ledger_database: LedgerDatabase) -> None:
    database = Database(ledger_database.api_url, most=2)
    running = asyncio.create_task(database.run())
    try:
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        database.stopping.set()
        await running


async def test_without_a_database_nobody_waits() -> None:
    database = Database("postgresql://x@127.0.0.1:1/x", most=2)
    running = asyncio.create_task(database.run())
    began = time.monotonic()
    try:
        for _ in range(2):
            with pytest.raises(ProblemError) as refused:
                async with database.connection():
                    pass
            assert refused.value.kind is Kind.UNAVAILABLE
        assert time.monotonic() - began < ACQUIRE_SECONDS / 2
    finally:
        database.stopping.set()
        await running
