"""Executions as rows: read under a lock, written with a guard, counted at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts import OPEN, ExecutionStatus, Kind, Reason
from libs.ledger.pool import Connection
from services.api.core.projection import Fire, Mark, Outcome, Row, Times
from services.api.ingest.statements import STATEMENTS


@dataclass(slots=True)
class Changes:
    """What a transaction has changed so far: its deployments are counted and its feed is written at its end."""

    newly_counted: Counter[UUID] = field(default_factory=Counter)
    last_executed_at: dict[UUID, datetime] = field(default_factory=dict)
    ended_of: set[UUID] = field(default_factory=set)
    feed: dict[tuple[UUID, str, str], None] = field(default_factory=dict)
    forgotten: int = 0
    """Facts about executions older than what is kept: dropped, and to be counted when the transaction commits."""
    started: list[Row] = field(default_factory=list)
    """Of which the lateness is known since this transaction, each once in its life: to be measured when it commits."""

    def note(self, team: UUID, kind: str, resource: str) -> None:
        """One line of the change feed, once."""
        self.feed[team, kind, resource] = None


async def lock(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Row]:
    """The rows that there are, locked until the transaction ends."""
    records = await connection.fetch(STATEMENTS.lock_executions, sorted(ids))
    return {row.id: row for row in map(_row, records)}


async def lock_lost(connection: Connection, host: str, held: Sequence[UUID]) -> list[Row]:
    """What is queued or running on `host` and not `held`, locked until the transaction ends."""
    return [_row(record) for record in await connection.fetch(STATEMENTS.lock_lost, host, held)]


async def write(connection: Connection, pairs: Iterable[tuple[Row, Row]], changes: Changes) -> int:
    """Write rows, each as `(as it was read, as it is to be)`, that the caller has locked; how many really changed."""
    moved = [(before, after) for before, after in pairs if before != after]
    if not moved:
        return 0
    moved.sort(key=lambda pair: pair[0].id)
    await connection.execute(
        STATEMENTS.update_executions,
        [before.id for before, _ in moved],
        [before.status for before, _ in moved],
        [before.presumed for before, _ in moved],
        *zip(*(_columns(after) for _, after in moved), strict=True),
    )
    await _upsert_results(connection, moved)
    for before, after in moved:
        changes.note(after.team_id, "execution", str(after.id))
        if after.start_is_timed and not before.start_is_timed:
            changes.started.append(after)
        if before.status in OPEN and after.status not in OPEN:
            changes.ended_of.add(after.deployment_id)
        counted = int(after.counts) - int(before.counts)
        if counted:
            changes.newly_counted[after.deployment_id] += counted
        ended_at = after.outcome.completed_at
        if after.counts and not after.presumed and ended_at is not None:
            latest = changes.last_executed_at.get(after.deployment_id)
            changes.last_executed_at[after.deployment_id] = ended_at if latest is None else max(latest, ended_at)
    return len(moved)


async def _upsert_results(connection: Connection, moved: Sequence[tuple[Row, Row]]) -> None:
    named: dict[UUID, Row] = {}
    for before, after in moved:
        result = after.outcome.script_result_id
        if result is not None and result != before.outcome.script_result_id:
            named[result] = after
    if named:
        ids = sorted(named)
        await connection.execute(
            STATEMENTS.upsert_script_results,
            ids,
            [named[key].team_id for key in ids],
            [named[key].id for key in ids],
        )


def _row(record: asyncpg.Record) -> Row:
    return Row(
        id=record["id"],
        deployment_id=record["deployment_id"],
        team_id=record["team_id"],
        host_name=record["host_name"],
        status=ExecutionStatus(record["status"]),
        fire=Fire(Kind(record["kind"]), record["scheduled_at"], record["decided_at"], record["published_at"]),
        presumed=record["presumed"],
        times=Times(*(record[name] for name in Times.__slots__)),
        outcome=Outcome(
            **{name: record[name] for name in Outcome.__slots__ if name != "reason"},
            reason=Reason(record["reason"]) if record["reason"] else None,
        ),
        ended_by=Mark(record["ended_journal_id"], record["ended_sequence"]) if record["ended_journal_id"] else None,
    )


def _columns(row: Row) -> tuple[object, ...]:
    """In the order of the statement `update_executions`."""
    times, outcome, ended_by = row.times, row.outcome, row.ended_by
    return (
        row.status,
        row.presumed,
        times.received_at,
        times.queued_at,
        times.admitted_at,
        times.started_at,
        outcome.completed_at,
        outcome.reason,
        outcome.skip_reason,
        outcome.error_message,
        outcome.success,
        outcome.exit_code,
        outcome.signal,
        outcome.duration_seconds,
        outcome.script_result_id,
        outcome.log_bytes,
        ended_by.journal_id if ended_by else None,
        ended_by.sequence if ended_by else None,
    )
