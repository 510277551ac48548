"""Logs of executions in an object store, as parts that follow each other without a gap.

A part is the object `logs/<execution id>/<offset of its first byte>`. It is only ever created, always at the end of
what is there, so two uploads at once cannot both win: the object store refuses the second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes [start, end) of a log."""

    start: int
    end: int


class GapError(Exception):
    """The part does not join what is there; `have` is where it must begin at the latest."""

    def __init__(self, have: int) -> None:
        super().__init__(f"only {have} bytes are there")
        self.have = have


class LogStore:
    """Reads and writes parts. Raises `STORE_AWAY`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        # How far a log reached when last seen; another worker may know of more, never of less.
        self._reach: OrderedDict[UUID, int] = OrderedDict()

    async def parts(self, execution_id: UUID, *, after: int = 0) -> list[LogPart]:
        """What is stored behind the byte `after`, in order and without gaps."""
        found = []
        folder = f"logs/{execution_id}"
        async for chunk in obstore.list(self._store, folder):
            for each in chunk:
                start = int(each["path"].rsplit("/", 1)[1])
                found.append(LogPart(start, start + each["size"]))
        found.sort(key=lambda part: part.start)
        return [part for part in found if part.end > after]

    async def size(self, execution_id: UUID) -> int:
        """How many bytes are stored."""
        parts = await self.parts(execution_id)
        return parts[-1].end if parts else 0

    async def append(self, execution_id: UUID, offset: int, content: bytes) -> None:
        """Store `content`, whose first byte is the log's byte `offset`. What is there already is left as it is.

        Raises `GapError` when bytes between are missing.
        """
        have = self._reach.get(execution_id, 0)
        known = False
        while True:
            if offset + len(content) <= have:
                return
            if offset <= have:
                try:
                    await obstore.put_async(
                        self._store, _path(execution_id, have), content[have - offset :], mode="create"
                    )
                except AlreadyExistsError:
                    known = False
                else:
                    self._remember(execution_id, offset + len(content))
                    return
            elif known:
                raise GapError(have)
            if not known:
                have = await self.size(execution_id)
                self._remember(execution_id, have)
                known = True

    async def read(self, execution_id: UUID, parts: Sequence[LogPart], start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) out of `parts`, piece by piece."""
        for part in parts:
            first, last = max(part.start, start), min(part.end, end)
            if first < last:
                piece = await obstore.get_range_async(
                    self._store, _path(execution_id, part.start), start=first - part.start, end=last - part.start
                )
                yield bytes(piece)

    def _remember(self, execution_id: UUID, have: int) -> None:
        self._reach[execution_id] = have
        self._reach.move_to_end(execution_id)
        if len(self._reach) > _MOST_REMEMBERED:
            self._reach.popitem(last=False)


def _path(execution_id: UUID, offset: int) -> str:
    return f"logs/{execution_id}/{offset:020d}"
