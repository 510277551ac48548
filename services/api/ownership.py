"""Whose execution it is that a host sends something for."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from services.api.auth import Caller, speak_for_host
from services.api.database import Database
from services.api.problems import not_found
from services.api.statements import SQL


async def team_of_own(database: Database, caller: Caller, execution_id: UUID) -> UUID:
    """The team of an execution of the calling host. Raises the problem `not_found` for every other execution."""
    async with database.connection() as connection, connection.transaction():
        await speak_for_host(connection)
        record = await connection.fetchrow(SQL.execution_of_host, execution_id, caller.host_name)
    if record is None:
        raise not_found("execution on this host")
    return cast("UUID", record["team_id"])
