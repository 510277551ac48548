"""Waiting for a host to say that it applied a command.

The ingest writes `applied_at` and notifies with the command's id; each web worker listens with one connection. A
notification that was lost costs the full wait, never a wrong answer: at its end the row itself is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger import channels
from libs.ledger.pool import DATABASE_AWAY, connect

log = get_logger(__name__)

WAIT_SECONDS = 2.0


class Acknowledgements(Part):
    """Listens for `rigbeat_applied`."""

    name = "acknowledgements"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._expected: dict[str, asyncio.Event] = {}

    @contextmanager
    def expected(self, command_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set when the command is applied; enter before the command is committed."""
        applied = self._expected[str(command_id)] = asyncio.Event()
        try:
            yield applied
        finally:
            del self._expected[str(command_id)]

    async def run(self) -> None:
        """Keep a listening connection until told to stop."""
        pauses = delays()
        while not self.stopping.is_set():
            try:
                await self._listen()
                pauses = delays()
            except DATABASE_AWAY as error:
                pause = next(pauses)
                log.warning("Not listening", error=str(error), again_in_seconds=pause)
                try:
                    await asyncio.wait_for(self.stopping.wait(), pause)
                except TimeoutError:
                    continue

    async def _listen(self) -> None:
        connection = await connect(self._url, application="rigbeat-api-listen")
        gone = asyncio.Event()
        connection.add_termination_listener(lambda *_: gone.set())
        try:
            await connection.add_listener(channels.APPLIED, lambda *notified: self._applied(str(notified[3])))
            waiting = [asyncio.create_task(gone.wait()), asyncio.create_task(self.stopping.wait())]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
        finally:
            await connection.close(timeout=2)

    def _applied(self, command_id: str) -> None:
        if command_id in self._expected:
            self._expected[command_id].set()
