"""The tests' own ledger: apart from others, with the real roles, and with a clock that can be moved."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from libs.ledger.pool import create_pool
from tests.support.ledger import LedgerDatabase, shift_now


async def test_the_services_role_sees_no_team_but_its_own(ledger_database: LedgerDatabase) -> None:
    mine, other = ledger_database.team("mine"), ledger_database.team("other")
    ledger_database.host("lab-1", mine, ["stb-1"])
    async with await create_pool(ledger_database.api_url, application="test") as pool, pool.acquire() as connection:
        for team, seen in ((mine, 1), (other, 0)):
            async with connection.transaction():
                await connection.execute("SELECT set_config('rigbeat.team_id', $1, true)", str(team))
                assert await connection.fetchval("SELECT count(*) FROM hosts") == seen
        assert await connection.fetchval("SELECT count(*) FROM hosts") == 0


async def test_the_clock_moves_for_connections_that_are_open(ledger_database: LedgerDatabase) -> None:
    async with await create_pool(ledger_database.api_url, application="test") as pool, pool.acquire() as connection:
        for ahead in (86400, -3600, 0):
            shift_now(ledger_database, ahead)
            shift = await connection.fetchval("SELECT ledger.now() - clock_timestamp()")
            assert abs(shift - timedelta(seconds=ahead)) < timedelta(seconds=1)


def test_a_service_cannot_move_the_clock(ledger_database: LedgerDatabase) -> None:
    with psycopg.connect(ledger_database.api_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(
            "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT clock_timestamp()'"
        )
