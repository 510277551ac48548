"""The ledger's pool when the server ends its sessions."""

from __future__ import annotations

import asyncpg
import psycopg

from libs.ledger.pool import DATABASE_AWAY, create_pool
from tests.support.ledger import LedgerDatabase
from tests.support.wait import turns_of_the_loop


async def test_a_session_that_ended_is_the_database_away_however_far_its_end_was_read(
    ledger_database: LedgerDatabase,
) -> None:
    seen = set()
    async with await create_pool(ledger_database.scheduler_url, application="test", most=1) as pool:
        with psycopg.connect(ledger_database.superuser_url, autocommit=True) as admin:
            for turns in range(5):
                try:
                    async with pool.acquire() as connection:
                        ended = admin.execute(
                            "SELECT pg_terminate_backend(%s, 5000)", (connection.get_server_pid(),)
                        ).fetchone()
                        assert ended == (True,)
                        # The driver reads the farewell in one turn of the loop, and the end of the stream in another.
                        await turns_of_the_loop(turns)
                        await connection.fetchval("SELECT 1")
                except DATABASE_AWAY as error:
                    seen.add(type(error))
                else:
                    raise AssertionError(f"a session that ended has answered, {turns} turns later")
                async with pool.acquire() as connection:
                    assert await connection.fetchval("SELECT 1") == 1
    # Else these turns met nothing: this is the one that no documented list of asyncpg's errors has.
    assert asyncpg.InternalClientError in seen
