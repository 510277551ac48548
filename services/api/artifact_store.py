"""The files that scripts left behind, in an object store, beside the logs.

A file is the object `artifacts/<execution id>/<hash of its name>-<its name, as far as it is plain>`: any name can be
kept, `a` beside `a/b` too, whatever the store thinks of blanks and percent signs. The true names are in the ledger.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import UUID
from weakref import WeakValueDictionary

import obstore
from obstore.store import ObjectStore

PIECE_BYTES = 1 << 18
PARTS_AT_ONCE = 2
"""Of 5 MiB each: what one upload may take of the memory."""

_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


class ArtifactStore:
    """Reads and writes files. Raises `STORE_AWAY`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    def turn(self, execution_id: UUID) -> asyncio.Lock:
        """Hold it from the count of what an execution has until the next file is written down: of uploads at once, each
        would count without the others. Other workers have turns of their own, so there may be a file too many for each.
        """
        return self._turns.setdefault(execution_id, asyncio.Lock())

    async def put(self, execution_id: UUID, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Keep a file, in place of one of the same name; whole or not at all. What `content` raises comes out."""
        await obstore.put_async(self._store, _path(execution_id, name), content, max_concurrency=PARTS_AT_ONCE)

    async def open(self, execution_id: UUID, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of a file, piece by piece. `FileNotFoundError` at once if it is not there."""
        if start >= end:
            await obstore.head_async(self._store, _path(execution_id, name))
            return _pieces(None)
        found = await obstore.get_async(self._store, _path(execution_id, name), options={"range": (start, end)})
        return _pieces(found)


async def _pieces(found: obstore.GetResult | None) -> AsyncIterator[bytes]:
    if found is not None:
        async for piece in found.stream(min_chunk_size=PIECE_BYTES):
            yield bytes(piece)


def _path(execution_id: UUID, name: str) -> str:
    shown = _PLAIN.sub("_", name)[-100:]
    return f"artifacts/{execution_id}/{sha256(name.encode()).hexdigest()[:32]}-{shown}"
