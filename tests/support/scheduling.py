"""A scheduler's parts on a ledger of their own, called one step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from libs.ledger.pool import Pool, create_pool
from services.scheduler.claim import Claimer
from services.scheduler.settings import Settings
from services.scheduler.sweep import Sweeper
from tests.support.ledger import LedgerDatabase, begin_early_in_a_minute


@dataclass
class Bench:
    """A scheduler's parts on one ledger."""

    database: LedgerDatabase
    pool: Pool
    team: UUID

    def claimer(self, batch: int = 1000) -> Claimer:
        return Claimer(self.pool, batch=batch, wake=asyncio.Event())

    def sweeper(self) -> Sweeper:
        settings = Settings(database_url="x", amqp_url="x")
        sweeper = Sweeper(self.pool, settings, wake_outbox=asyncio.Event())
        sweeper._steady_from = -1.0
        sweeper._clocks = None
        return sweeper

    def deploy(self, name: str, cron: str = "* * * * *", *, due: str = "0 seconds", **columns: Any) -> UUID:
        """A deployment whose first undecided fire is the full minute `due` ago."""
        columns = {"host_name": "lab-1", "device_id": "stb-1"} | columns
        names = "".join(f", {column}" for column in columns)
        [(made,)] = self.database.execute(
            "INSERT INTO deployments (id, team_id, name, script_name, cron_expression, counted_from, next_fire_at,"
            f" next_due_at{names}) SELECT gen_random_uuid(), %s, %s, 'health.py', %s, at, at, at{', %s' * len(columns)}"
            " FROM (SELECT date_trunc('minute', ledger.now() - %s::interval) AS at) t RETURNING id",
            (self.team, name, cron, *columns.values(), due),
        )
        return UUID(str(made))

    def rows(self, deployment: UUID) -> list[tuple[Any, ...]]:
        return self.database.execute(
            "SELECT status, reason, kind FROM deployment_executions WHERE deployment_id = %s ORDER BY id", (deployment,)
        )

    def one(self, statement: str, *parameters: object) -> Any:
        [(value,)] = self.database.execute(statement, parameters)
        return value


@pytest.fixture
async def bench(ledger_database: LedgerDatabase) -> AsyncIterator[Bench]:
    begin_early_in_a_minute(ledger_database)
    team = ledger_database.team("a")
    ledger_database.host("lab-1", team, ["stb-1"])
    ledger_database.execute("INSERT INTO liveness VALUES ('presence', ledger.now())")
    pool = await create_pool(ledger_database.scheduler_url, application="test", most=4)
    try:
        yield Bench(ledger_database, pool, team)
    finally:
        pool.terminate()
