"""What operators ask and set: the policies, the runs, and what a run would remove."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from libs.contracts import first_id
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.auth import Caller
from services.api.database import Database
from services.api.problems import invalid, unavailable
from services.api.retention.files import FilesAwayError, Folder, OldFile, OldFiles, removable
from services.api.retention.statements import STATEMENTS
from services.api.shapes.problem import FieldError
from services.api.shapes.retention import (
    KeptKind,
    PlannedRemoval,
    Retention,
    RetentionPlan,
    RetentionPolicy,
    RetentionRun,
)
from services.api.transactions import transaction

MOST_ROWS = 1_000_000
"""Of one kind; more are not counted."""
MOST_SECONDS = 10.0
"""For the files of one kind; a bucket tells a thousand at a time."""
_RUNS_SHOWN = 10


async def overview(connection: Connection) -> Retention:
    """All of it."""
    following = await connection.fetchrow(STATEMENTS.next_run)
    assert following is not None
    return Retention(
        policies=[RetentionPolicy(**dict(record)) for record in await connection.fetch(STATEMENTS.policies)],
        next_run_at=following["at"],
        asked_by=following["asked_by"],
        runs=[RetentionRun.of(dict(record)) for record in await connection.fetch(STATEMENTS.latest_runs, _RUNS_SHOWN)],
    )


async def set_policy(connection: Connection, caller: Caller, kind: KeptKind, keep_days: int | None) -> RetentionPolicy:
    """Keep one kind for so many days; None: for ever. Raises `invalid-input` for less than its least."""
    before = await _policy(connection, kind)
    if keep_days is not None and keep_days < before.least_days:
        message = f"No policy for {kind.value.replace('_', ' ')} goes below {before.least_days} days"
        hint = "Choose more days, or null to keep them for ever."
        raise invalid([FieldError(field="keep_days", message=message, hint=hint)])
    if keep_days == before.keep_days:
        return before
    await connection.fetchval(STATEMENTS.set_policy, kind.value, keep_days, caller.name)
    change = {"keep_days": {"before": before.keep_days, "after": keep_days}}
    await _note(connection, caller, "edit", f"retention/{kind.value}", {"changes": change})
    return await _policy(connection, kind)


async def ask(connection: Connection, caller: Caller) -> Retention:
    """Let the next run begin now; it is another process's, within seconds."""
    await connection.execute(STATEMENTS.ask, caller.name)
    await _note(connection, caller, "run", "retention", {})
    return await overview(connection)


async def plan(database: Database, caller: Caller, files: OldFiles) -> RetentionPlan:
    """What a run would remove if it began now, by its own rules. Raises `unavailable` when the store is away."""
    async with transaction(database, caller) as connection:
        horizons = {record["kind"]: record["horizon"] for record in await connection.fetch(STATEMENTS.horizons)}
        rows = {record["kind"]: record for record in await connection.fetch(STATEMENTS.plan, MOST_ROWS)}
    items = []
    for kind in KeptKind:
        if kind in rows:
            count, size, oldest = rows[kind]["count"], None, rows[kind]["oldest"]
            is_more = count >= MOST_ROWS
        else:
            found = _Found()
            if horizons[kind] is not None:
                await _look_for_files(database, caller, files, Folder(kind), horizons[kind], found)
            count, size, oldest, is_more = found.count, found.size, found.oldest, found.is_more
        items.append(
            PlannedRemoval(kind=kind, kept_from=horizons[kind], count=count, bytes=size, oldest=oldest, is_more=is_more)
        )
    return RetentionPlan(items=items)


@dataclass(slots=True)
class _Found:
    count: int = 0
    size: int = 0
    oldest: datetime | None = None
    is_more: bool = False

    def add(self, file: OldFile) -> None:
        """One more."""
        self.count += 1
        self.size += file.size
        if self.oldest is None:  # the oldest executions come first, and an id begins with its time
            self.oldest = datetime.fromtimestamp((file.execution_id.int >> 80) / 1000, UTC)


async def _look_for_files(
    database: Database, caller: Caller, files: OldFiles, folder: Folder, horizon: datetime, found: _Found
) -> None:
    until = time.monotonic() + MOST_SECONDS
    try:
        async for some in files.before(folder, first_id(horizon)):
            # Each look a transaction of its own: the store may be slow in between.
            async with transaction(database, caller) as connection:
                gone = await removable(connection, some, horizon)
            for file in gone:
                found.add(file)
            if time.monotonic() > until:
                found.is_more = True
                return
    except FilesAwayError:
        raise unavailable(f"The store of the {folder.value} is away") from None


async def _policy(connection: Connection, kind: KeptKind) -> RetentionPolicy:
    record = await connection.fetchrow(STATEMENTS.policy, kind.value)
    assert record is not None
    return RetentionPolicy(**dict(record))


async def _note(connection: Connection, caller: Caller, action: str, resource: str, detail: dict[str, object]) -> None:
    moment = await connection.fetchrow(LEDGER.ledger_now)
    assert moment is not None
    await connection.execute(LEDGER.audit, moment["now"], caller.team_id, caller.name, action, resource, detail)
