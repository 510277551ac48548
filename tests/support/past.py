"""A ledger with a past: executions, their files, audit and letters of any age, and the retention to remove them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from libs.contracts import fire_id, manual_id
from services.api.artifact_store import ArtifactStore
from services.api.log_store import LogStore
from services.api.object_store import open_store
from services.api.retention.files import OldFiles
from services.api.retention.keeper import Keeper
from tests.support.api import Api
from tests.support.ledger import shift_now

DAY_SECONDS = 86_400
LOG = b"a line\n"
REPORT = b"<p>fine</p>"
COUNTED = (
    *("deployment_executions", "artifacts", "script_results", "audit_log", "dead_letters", "api_tokens"),
    *("deployment_versions", "executions_removed", "retention", "retention_next", "retention_runs"),
)


@dataclass
class Past:
    """Ages are in days before the ledger's now; every fire is at noon of its day (UTC)."""

    api: Api
    place: Path
    connection: psycopg.Connection
    number: int = 0

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """As `LedgerDatabase.execute`, on one connection: a past is made of many rows."""
        cursor = self.connection.execute(statement.encode(), parameters)
        return [] if cursor.description is None else cursor.fetchall()

    @property
    def now(self) -> datetime:
        """The ledger's."""
        [(at,)] = self.execute("SELECT ledger.now()")
        assert isinstance(at, datetime)
        return at

    def noon(self, age: int) -> datetime:
        """Of the day that is so many days ago."""
        return (self.now - timedelta(days=age)).replace(hour=12, minute=0, second=0, microsecond=0)

    def months(self, days: int) -> None:
        """The partitions that a ledger of that age has."""
        shift_now(self.api.database, -days * DAY_SECONDS)
        self.execute("SELECT ledger.ensure_partitions(ledger.now())")
        shift_now(self.api.database, 0)

    def deployment(self, *, age: int = 600, status: str = "stopped", limit: int | None = None, **columns: Any) -> UUID:
        """One that was made so many days ago, every day at noon, with its first version."""
        self.number += 1
        made = manual_id(self.now - timedelta(days=age), self.number.to_bytes(10, "big"))
        since = self.now - timedelta(days=age)
        columns = {"next_fire_at": None, "next_due_at": None} | columns
        self.execute(
            "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,"
            " max_executions, counted_from, created_at, updated_at, status, next_fire_at, next_due_at)"
            " VALUES (%s, %s, %s, 'lab-1', 'stb-1', 'health.py', '0 12 * * *', %s, %s, %s, ledger.now(), %s, %s, %s)",
            (made, self.api.team, f"d{self.number}", limit, since, since, status, *columns.values()),
        )
        self.version(made, 1, age, status)
        return made

    def version(self, deployment: UUID, number: int, age: int, status: str = "stopped") -> None:
        """A row of its history."""
        self.execute(
            "INSERT INTO deployment_versions SELECT id, %s, team_id, ledger.now() - make_interval(days => %s),"
            " counted_from, cron_expression, timezone, start_date, end_date, max_executions, %s, NULL, catch_up,"
            " catch_up_window_seconds, on_device_busy, max_wait_seconds, timeout_seconds, silence_timeout_seconds,"
            " false, NULL FROM deployments WHERE id = %s",
            (number, age, status, deployment),
        )

    def execution(self, deployment: UUID, age: int, status: str = "completed", **columns: Any) -> UUID:
        """One of so many days ago; an ended one ended a minute later and is counted where it counts."""
        at = self.noon(age)
        identity = fire_id(deployment, at)
        is_over = status not in {"triggered", "queued", "running"}
        counts = status in {"completed", "failed"} and not columns.get("presumed")
        values = {
            "started_at": at if status in {"running", "completed", "failed"} else None,
            "completed_at": at + timedelta(minutes=1) if is_over else None,
            "success": {"completed": True, "failed": False}.get(status),
            "timeout_seconds": 1000 * DAY_SECONDS,
            "reason": {"failed": "exit_code", "skipped": "missed"}.get(status),
        } | columns
        self.execute(
            "INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, version, host_name,"
            f" device_id, script_name, decided_at, status, {', '.join(values)})"
            f" SELECT %s, id, team_id, %s, 'cron', 1, host_name, device_id, script_name, %s, %s"
            f"{', %s' * len(values)} FROM deployments WHERE id = %s",
            (identity, at, at, status, *values.values(), deployment),
        )
        if counts:
            self.execute(
                "UPDATE deployments SET execution_count = execution_count + 1, last_executed_at = ledger.now()"
                " WHERE id = %s",
                (deployment,),
            )
        return identity

    async def files(self, execution: UUID) -> None:
        """A log of one line and a report, as hosts send them."""
        store = open_store(f"file://{self.place}")
        await LogStore(store).append(execution, 0, LOG)
        await ArtifactStore(store).put(execution, "report.html", REPORT)
        self.execute(
            "INSERT INTO artifacts (execution_id, name, team_id, size, media_type)"
            " VALUES (%s, %s, %s, %s, 'text/html')",
            (execution, "report.html", self.api.team, len(REPORT)),
        )

    def letter(self, age: int, state: str) -> UUID:
        """A dead letter."""
        self.number += 1
        identity = UUID(int=self.number)
        self.execute(
            "INSERT INTO dead_letters (id, at, reason, body_size, state, team_id)"
            " VALUES (%s, ledger.now() - make_interval(days => %s), 'x', 0, %s, %s)",
            (identity, age, state, self.api.team),
        )
        return identity

    def audited(self, age: int) -> None:
        """A line of the audit."""
        self.execute(
            "INSERT INTO audit_log (at, actor, action, resource) VALUES (ledger.now() - make_interval(days => %s), 'x',"
            " 'x', %s)",
            (age, f"age/{age}"),
        )

    def left(self, folder: str) -> set[UUID]:
        """The executions that have files there."""
        root = self.place / folder
        return {UUID(each.name) for each in root.iterdir()} if root.exists() else set()

    def ids(self, table: str, column: str = "id") -> set[Any]:
        """What is in a table."""
        return {value for (value,) in self.execute(f"SELECT {column} FROM {table}")}

    def state(self) -> list[Any]:
        """Everything that a run may touch."""
        rows = [sorted(map(str, self.execute(f"SELECT t::text FROM {table} t"))) for table in COUNTED]
        return [*rows, self.left("logs"), self.left("artifacts")]

    def partitions(self) -> set[str]:
        """The months, as YYYYMM."""
        return {
            name.rpartition("_")[2]
            for (name,) in self.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits"
                " WHERE inhparent = 'ledger.deployment_executions'::regclass"
            )
        }

    def due(self) -> None:
        """Let the next look be a run."""
        self.execute("UPDATE retention_next SET at = ledger.now()")

    @asynccontextmanager
    async def keeper(self, files: OldFiles | None = None, *, rows_at_once: int = 2) -> AsyncIterator[Keeper]:
        """A process of the retention, in steps so small that there are several; it ends with the block."""
        store = OldFiles(open_store(f"file://{self.place}"))
        made = Keeper(self.api.database.ingest_url, files or store, rows_at_once=rows_at_once)
        try:
            yield made
        finally:
            await made.close()

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Somebody who reads all executions and does not end."""
        with psycopg.connect(self.api.database.owner_url, options="-c search_path=ledger") as connection:
            connection.execute("SELECT count(*) FROM deployment_executions")
            yield
