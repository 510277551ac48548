"""Checking the invariants for an operator: one snapshot of the ledger, read only."""

from __future__ import annotations

from datetime import datetime, timedelta

from libs.invariants import Finding, verify
from libs.ledger.statements import STATEMENTS
from services.api.auth import Caller, speak_for
from services.api.database import Database
from services.api.problems import invalid
from services.api.shapes.problem import FieldError

MOST_DAYS = 31


async def findings(database: Database, caller: Caller, since: datetime | None) -> tuple[datetime, tuple[Finding, ...]]:
    """The database's time and what was found. Raises `invalid-input` for too long a period, else as the database."""
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await speak_for(connection, caller)
        moment = await connection.fetchrow(STATEMENTS.ledger_now)
        assert moment is not None
        now: datetime = moment["now"]
        if since is not None and not now - timedelta(days=MOST_DAYS) <= since <= now:
            message = f"The period is from at most {MOST_DAYS} days ago until now"
            raise invalid([FieldError(field="since", message=message, hint="Choose a time within it.")])
        return now, await verify(connection, now=now, since=since)
