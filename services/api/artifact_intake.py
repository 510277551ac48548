"""A file of a script on its way in: checked, kept in the object store, written down, told.

The order: the object first, then its row. So what is listed is there, and what was sent half is nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from uuid import UUID

from starlette.requests import ClientDisconnect

from libs.contracts.artifacts import LEFT_OUT, MOST_BYTES_EACH, name_fault, total_fault
from libs.ledger import decisions
from services.api.artifact_store import ArtifactStore
from services.api.auth import speak_for_host
from services.api.core import junit
from services.api.core.report import media_type
from services.api.database import Database
from services.api.object_store import STORE_AWAY
from services.api.problems import ProblemError, invalid, unavailable
from services.api.shapes.problem import FieldError, Kind
from services.api.statements import SQL

IN_MEMORY_BYTES = junit.MOST_BYTES
"""What is larger goes through piece by piece, and is never read as a JUnit report."""


class _LengthError(Exception):
    """The body is not as long as was said."""


async def take(
    database: Database,
    store: ArtifactStore,
    execution_id: UUID,
    team_id: UUID,
    name: str,
    size: int,
    body: AsyncIterator[bytes],
) -> None:
    """Keep a file of `size` bytes, in place of one of the same name. Raises problems."""
    fault = name_fault(name)
    if fault is not None:
        raise invalid(
            [FieldError(field="name", message=f"The name {fault}", hint="Send a relative path, such as report.html.")]
        )
    async with store.turn(execution_id):
        await _check_room(database, execution_id, name, size)
        try:
            sums = await _keep(store, execution_id, name, size, body)
        except _LengthError as error:
            raise ProblemError(Kind.MALFORMED, str(error)) from None
        except ClientDisconnect:
            raise ProblemError(Kind.MALFORMED, "The body broke off") from None
        except STORE_AWAY:
            raise unavailable("The store of the artifacts is away; send this file again") from None
        async with database.connection() as connection, connection.transaction():
            await speak_for_host(connection)
            summary = None if sums is None else asdict(sums)
            await connection.execute(SQL.put_artifact, execution_id, name, team_id, size, media_type(name), summary)
            await decisions.note(connection, [(team_id, "execution", str(execution_id))])


async def _check_room(database: Database, execution_id: UUID, name: str, size: int) -> None:
    if size > MOST_BYTES_EACH:
        raise ProblemError(Kind.TOO_LARGE, f"An artifact may have {MOST_BYTES_EACH} bytes")
    async with database.connection() as connection, connection.transaction():
        await speak_for_host(connection)
        others = await connection.fetchrow(SQL.artifact_others, execution_id, name)
    assert others is not None
    # The list of what was left out comes on top.
    fault = total_fault(0 if name == LEFT_OUT else 1, size, others["files"], others["size"])
    if fault is not None:
        raise ProblemError(Kind.TOO_LARGE, f"The artifacts of an execution are limited: {fault}")


async def _keep(
    store: ArtifactStore, execution_id: UUID, name: str, size: int, body: AsyncIterator[bytes]
) -> junit.Sums | None:
    measured = _measured(body, size)
    if size > IN_MEMORY_BYTES:
        await store.put(execution_id, name, measured)
        return None
    content = b"".join([piece async for piece in measured])
    await store.put(execution_id, name, content)
    if not name.lower().endswith(".xml"):
        return None
    # In a thread: a big report takes longer than others should wait.
    return await asyncio.to_thread(junit.summed, content)


async def _measured(body: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    left = size
    async for piece in body:
        left -= len(piece)
        if left < 0:
            break
        if piece:
            yield piece
    if left:
        raise _LengthError(f"The body does not have the {size} bytes that were announced")
