"""Old logs and artifacts in the object store, found by their paths alone: nothing there is ever out of sight.

The second part of a path is the execution's id, which begins with its time. So what is old is what sorts first, also
when the ledger has no row of it any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import obstore
from obstore.store import LocalStore, ObjectStore

from libs.ledger.pool import Connection
from services.api.object_store import STORE_AWAY
from services.api.retention.statements import STATEMENTS

AT_ONCE = 500
"""Files of one step; S3 deletes at most 1000 by one request."""


class Folder(StrEnum):
    """Where they lie, and the kind of the policy."""

    LOGS = "logs"
    ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class OldFile:
    """One object; its size in bytes."""

    path: str
    execution_id: UUID
    size: int


class FilesAwayError(Exception):
    """The object store is away, or does not let us in."""


class OldFiles:
    """Finds and removes. Raises `FilesAwayError`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def before(self, folder: Folder, horizon: UUID) -> AsyncIterator[Sequence[OldFile]]:
        """Files of executions with smaller ids, in steps, oldest executions first."""
        found: list[OldFile] = []
        objects = self._of_folder(folder, horizon) if isinstance(self._store, LocalStore) else self._of_bucket(folder)
        try:
            async for each in objects:
                execution = _id(each["path"])
                if execution is None:
                    continue
                if execution >= horizon:
                    break
                found.append(OldFile(each["path"], execution, each["size"]))
                if len(found) == AT_ONCE:
                    yield found
                    found = []
        except STORE_AWAY as error:
            raise FilesAwayError(f"{type(error).__name__}: {error}") from error
        if found:
            yield found

    async def remove(self, files: Sequence[OldFile]) -> None:
        """Remove them; what is gone already is no fault."""
        try:
            await self._remove([file.path for file in files])
        except FileNotFoundError:
            # A folder stops at the first that is not there.
            for file in files:
                with suppress(FileNotFoundError):
                    await self._remove([file.path])

    async def _remove(self, paths: list[str]) -> None:
        try:
            await obstore.delete_async(self._store, paths)
        except FileNotFoundError:
            raise
        except STORE_AWAY as error:
            raise FilesAwayError(f"{type(error).__name__}: {error}") from error

    async def _of_bucket(self, folder: Folder) -> AsyncIterator[obstore.ObjectMeta]:
        """A bucket lists in the order of the paths, so that only what is old is ever read."""
        async for chunk in obstore.list(self._store, folder.value):
            for each in chunk:
                yield each

    async def _of_folder(self, folder: Folder, horizon: UUID) -> AsyncIterator[obstore.ObjectMeta]:
        """A file system lists in no order: the names of the folders first, then what is in the old ones."""
        listed = await obstore.list_with_delimiter_async(self._store, folder.value)
        for execution in _older(listed["common_prefixes"], horizon):
            async for chunk in obstore.list(self._store, execution):
                for each in chunk:
                    yield each


async def removable(connection: Connection, files: Sequence[OldFile], kept_from: datetime) -> list[OldFile]:
    """Of these files, those whose execution ended before `kept_from`, or of which the ledger knows nothing any more."""
    ids = sorted({file.execution_id for file in files})
    kept = {record["id"] for record in await connection.fetch(STATEMENTS.still_kept, ids, kept_from)}
    return [file for file in files if file.execution_id not in kept]


def _older(folders: Iterable[str], horizon: UUID) -> list[str]:
    return sorted(each for each in folders if (identity := _id(each)) is not None and identity < horizon)


def _id(path: str) -> UUID | None:
    """The execution's id in a path; None for what is not ours."""
    try:
        return UUID(path.split("/")[1])
    except (IndexError, ValueError):
        return None
