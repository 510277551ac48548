"""The process that removes what is older than the policies: one of all replicas at a time, in small steps.

A run begins by saying from when on things are kept; everything older is taken as gone from then on, whatever becomes of
the run. So the order of the steps does not matter, each may be repeated, and a run that broke off is made up for by the
next: files are found by their paths, rows by their ids. Between two steps it rests as long as the step took, and longer
while fires are due. No step waits long for a lock, and none holds one that firing needs.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import first_id
from libs.ledger.pool import DATABASE_AWAY
from libs.ledger.sole import SoleSession
from services.api.retention import metrics
from services.api.retention.files import FilesAwayError, Folder, OldFiles, removable
from services.api.retention.statements import STATEMENTS

log = get_logger(__name__)

ROWS_AT_ONCE = 1000
LOOK_EVERY_SECONDS = 5.0
AFTER_A_FAULT_SECONDS = 60.0

_LOCK_SECONDS = 1.0
_IDLE_SECONDS = 900.0
"""A process that is stopped, not ended, must not keep the others from it. The store may be slow in between."""
_REST_SECONDS = 0.01
_WHILE_DUE_SECONDS = 0.1
_LONGEST_REST_SECONDS = 5.0
"""Where fires are always due something must be removed all the same."""
_MONTH_TRIES = 3
_MONTH_REST_SECONDS = 0.5

_PUT_OFF = (*DATABASE_AWAY, asyncpg.PostgresError)

_STEPS = (
    ("executions", STATEMENTS.executions, UUID(int=0)),
    ("versions", STATEMENTS.versions, UUID(int=0)),
    ("audit", STATEMENTS.audit, 0),
    ("tokens", STATEMENTS.tokens, UUID(int=0)),
    ("dead_letters", STATEMENTS.dead_letters, datetime.fromisoformat("1970-01-01T00:00:00Z")),
)
"""The kinds that are rows: the statement of a step, and where the first one begins."""


class Outcome(StrEnum):
    """What became of a look."""

    DONE = "done"
    NOT_DUE = "not_due"
    ELSEWHERE = "elsewhere"
    BROKE_OFF = "broke_off"
    FAILED = "failed"


class Keeper(Part):
    """The loop."""

    name = "retention"

    def __init__(self, url: str, files: OldFiles, *, rows_at_once: int = ROWS_AT_ONCE) -> None:
        super().__init__()
        self._session = SoleSession(
            url,
            application="rigbeat-retention",
            lock="ledger.retention",
            idle_seconds=_IDLE_SECONDS,
            lock_seconds=_LOCK_SECONDS,
        )
        self._files = files
        self._rows_at_once = rows_at_once

    async def run(self) -> None:
        """Look until told to stop whether a run is due."""
        try:
            while not self.stopping.is_set():
                outcome = await self.look()
                await self._rest(AFTER_A_FAULT_SECONDS if outcome is Outcome.FAILED else LOOK_EVERY_SECONDS)
        finally:
            await self.close()

    async def look(self) -> Outcome:
        """One run, if one is due and nobody else is at it. Raises nothing that database or store may raise."""
        try:
            outcome = await self._look()
        except _PUT_OFF as error:
            log.warning("The retention was put off", error=f"{type(error).__name__}: {error}")
            await self.close()
            outcome = Outcome.FAILED
        if outcome in {Outcome.DONE, Outcome.BROKE_OFF, Outcome.FAILED}:
            metrics.RUNS.labels(outcome).inc()
        return outcome

    async def close(self) -> None:
        """Let go of the lock; another process may take over."""
        await self._session.close()

    async def _look(self) -> Outcome:
        connection = await self._session.connection()
        if connection is None:
            metrics.KEPT_FROM.clear()
            metrics.RUN.set(0)
            metrics.RUN_SECONDS.set(0)
            return Outcome.ELSEWHERE
        run = await connection.fetchval(STATEMENTS.begin_run)
        kept_from = {record["kind"]: record["kept_from"] for record in await connection.fetch(STATEMENTS.kept_from)}
        outcome = Outcome.NOT_DUE if run is None else await self._remove(connection, run, kept_from)
        for kind, at in kept_from.items():
            if at is not None:
                metrics.KEPT_FROM.labels(kind).set(at.timestamp())
        last = await connection.fetchrow(STATEMENTS.last_whole_run)
        if last is not None:
            metrics.RUN.set(last["ended_at"].timestamp())
            metrics.RUN_SECONDS.set(last["seconds"])
        return outcome

    async def _remove(
        self, connection: asyncpg.Connection[asyncpg.Record], run: int, kept_from: dict[str, datetime | None]
    ) -> Outcome:
        are_files_gone = True
        for folder in Folder:
            if (at := kept_from[folder]) is not None:
                are_files_gone &= await self._remove_files(connection, run, folder, at)
        if are_files_gone:
            await self._remove_rows(connection, "artifact_rows", STATEMENTS.artifact_rows, UUID(int=0))
        for kind, statement, first in _STEPS:
            await self._remove_rows(connection, kind, statement, first, run)
        await self._drop_months(connection)
        if self.stopping.is_set():
            return Outcome.BROKE_OFF  # the next process finds the run open, and goes on
        await connection.execute(STATEMENTS.end_run, run, not are_files_gone)
        return Outcome.DONE if are_files_gone else Outcome.BROKE_OFF

    async def _remove_rows(
        self, connection: asyncpg.Connection[asyncpg.Record], kind: str, statement: str, first: object, *run: int
    ) -> None:
        after = first
        while not self.stopping.is_set():
            began = time.monotonic()
            step = await connection.fetchrow(statement, *run, after, self._rows_at_once)
            assert step is not None
            if run and step["removed"]:
                metrics.REMOVED.labels(kind).inc(step["removed"])
            if step["last"] is None:
                return
            after = step["last"]
            await self._breathe(connection, time.monotonic() - began)

    async def _remove_files(
        self, connection: asyncpg.Connection[asyncpg.Record], run: int, folder: Folder, kept_from: datetime
    ) -> bool:
        """Whether the store let us. If not, what belongs to rows goes all the same, and the files are found again."""
        try:
            async for files in self._files.before(folder, first_id(kept_from)):
                began = time.monotonic()
                gone = await removable(connection, files, kept_from)
                if gone:
                    await self._files.remove(gone)
                    size = sum(file.size for file in gone)
                    await connection.execute(STATEMENTS.note_removed_files, run, folder.value, len(gone), size)
                    metrics.REMOVED.labels(folder).inc(len(gone))
                    metrics.REMOVED_BYTES.labels(folder).inc(size)
                if self.stopping.is_set():
                    break
                await self._breathe(connection, time.monotonic() - began)
        except FilesAwayError as error:
            log.warning("Old files stay for now", kind=folder.value, error=str(error))
            return False
        return True

    async def _drop_months(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Give the room of whole months back. What is in somebody's use is left to the next run."""
        tries = 0
        while not self.stopping.is_set() and tries < _MONTH_TRIES:
            try:
                month = await connection.fetchval(STATEMENTS.drop_empty_month)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                tries += 1
                await self._rest(_MONTH_REST_SECONDS)
                continue
            if month is None:
                return
            log.info("An empty month was dropped", partition=month)

    async def _breathe(self, connection: asyncpg.Connection[asyncpg.Record], took: float) -> None:
        await self._rest(max(took, _REST_SECONDS))
        until = time.monotonic() + _LONGEST_REST_SECONDS
        while time.monotonic() < until and not self.stopping.is_set():
            if not await connection.fetchval(STATEMENTS.is_anything_due):
                return
            await self._rest(_WHILE_DUE_SECONDS)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return
