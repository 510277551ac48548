"""The journal's pages about artifacts: which files of which ended runs the API does not have yet.

What is to be sent is chosen once and written down, so that a restart in the middle neither sends more than may be sent
nor forgets what is left.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from libs.chassis.named_sql import NamedSql

SQL = NamedSql(Path(__file__).parent / "sql")


@dataclass(frozen=True, slots=True)
class Folder:
    """An ended run whose artifacts are not all with the API. `is_planned`: what to send is chosen."""

    execution_id: UUID
    is_planned: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file to be sent; with `content`, that text under this name instead."""

    position: int
    name: str
    content: str | None


class ArtifactBook:
    """On the journal's own connection, so that a run's end and its open artifacts are written in one transaction."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Makes the tables if the journal is of an older release."""
        self._db = database
        self._db.execute(SQL.create_artifact_folders)
        self._db.execute(SQL.create_artifact_files)

    def open(self, execution_id: UUID) -> None:
        """The run has ended: its folder is to be looked at. Within the caller's transaction."""
        self._db.execute(SQL.open_artifacts, (str(execution_id),))

    def folders(self, limit: int) -> list[Folder]:
        """The oldest that are not done."""
        rows = self._db.execute(SQL.select_artifact_folders, (limit,)).fetchall()
        return [Folder(UUID(execution), bool(planned)) for execution, planned in rows]

    def plan(self, execution_id: UUID, names: Sequence[str], extra: Sequence[tuple[str, str]]) -> None:
        """These files of the folder are to be sent, then each of `extra`: a name and its text."""
        files = [(name, None) for name in names] + list(extra)
        rows = [(str(execution_id), position, *file) for position, file in enumerate(files)]
        with self._transaction():
            self._db.executemany(SQL.insert_artifact_file, rows)
            self._db.execute(SQL.plan_artifacts, (str(execution_id),))

    def waiting(self, execution_id: UUID) -> list[Waiting]:
        """What is still to be sent of a folder, in order."""
        return [Waiting(*row) for row in self._db.execute(SQL.select_artifact_files, (str(execution_id),))]

    def sent(self, execution_id: UUID, position: int) -> None:
        """The API has this file, or will never take it."""
        self._db.execute(SQL.delete_artifact_file, (str(execution_id), position))

    def done(self, execution_id: UUID) -> None:
        """Nothing of this folder is to be sent any more."""
        self._db.execute(SQL.delete_artifact_folder, (str(execution_id),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute(SQL.begin)
        with ExitStack() as undo:
            undo.callback(self._db.execute, SQL.rollback)
            yield
            undo.pop_all()
        self._db.execute(SQL.commit)
