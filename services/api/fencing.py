"""Making changes that hosts must hear of, and waiting for them: all together for at most two seconds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from libs.ledger.pool import Connection
from services.api.acknowledgements import WAIT_SECONDS, Acknowledgements
from services.api.auth import Caller
from services.api.changes import Changed
from services.api.database import Database
from services.api.statements import SQL
from services.api.transactions import change, transaction

Work = Callable[[Connection, UUID], Awaitable[Changed]]
"""A change in one transaction; the id is that of its fence, if it sends one."""


class Fencing:
    """The changes of one request."""

    def __init__(
        self, database: Database, acknowledgements: Acknowledgements, caller: Caller, stack: ExitStack
    ) -> None:
        self._database = database
        self._acknowledgements = acknowledgements
        self._caller = caller
        self._stack = stack
        self._awaited: dict[UUID, asyncio.Event] = {}

    async def make(self, work: Work) -> tuple[Changed, UUID]:
        """Make one change, and remember its fence. Raises what `work` does."""
        command_id = UUID(bytes=os.urandom(16), version=4)
        # Listened for before it is committed: the answer may come at once.
        applied = self._stack.enter_context(self._acknowledgements.expected(command_id))
        done = await change(self._database, self._caller, lambda connection: work(connection, command_id))
        if done.fenced:
            self._awaited[command_id] = applied
        return done, command_id

    async def applied(self) -> Mapping[UUID, bool]:
        """Of every fence that a host was there to answer: whether it did within the wait."""
        waiting = [asyncio.ensure_future(event.wait()) for event in self._awaited.values()]
        if not waiting:
            return {}
        try:
            await asyncio.wait(waiting, timeout=WAIT_SECONDS)
        finally:
            for each in waiting:
                each.cancel()
        silent = [command_id for command_id, event in self._awaited.items() if not event.is_set()]
        late: set[UUID] = set()
        if silent:
            async with transaction(self._database, self._caller) as connection:
                late = {record["message_id"] for record in await connection.fetch(SQL.applied, silent)}
        return {command_id: event.is_set() or command_id in late for command_id, event in self._awaited.items()}


@contextmanager
def fencing(database: Database, acknowledgements: Acknowledgements, caller: Caller) -> Iterator[Fencing]:
    """For one request."""
    with ExitStack() as stack:
        yield Fencing(database, acknowledgements, caller, stack)


async def make_and_wait(
    database: Database, acknowledgements: Acknowledgements, caller: Caller, work: Work
) -> tuple[Mapping[str, Any], bool]:
    """The deployment after one change, and whether its host has applied it within the wait. Raises what `work` does."""
    with fencing(database, acknowledgements, caller) as at_hosts:
        done, command_id = await at_hosts.make(work)
        return done.record, (await at_hosts.applied()).get(command_id, False)
