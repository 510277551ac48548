"""LISTEN: sooner than the next look. A lost connection costs seconds, never a fire."""

from __future__ import annotations

import asyncio

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger import channels
from libs.ledger.pool import DATABASE_AWAY, connect

log = get_logger(__name__)


class Waker(Part):
    """Sets an event for each notification."""

    name = "listen"

    def __init__(self, url: str, *, due: asyncio.Event, outbox: asyncio.Event) -> None:
        super().__init__()
        self._url = url
        self._due = due
        self._outbox = outbox

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
        connection = await connect(self._url, application="rigbeat-scheduler-listen")
        gone = asyncio.Event()
        connection.add_termination_listener(lambda *_: gone.set())
        try:
            await connection.add_listener(channels.DUE, lambda *_: self._due.set())
            await connection.add_listener(channels.OUTBOX, lambda *_: self._outbox.set())
            # Whatever was notified before we listened.
            self._due.set()
            self._outbox.set()
            waiting = [asyncio.create_task(gone.wait()), asyncio.create_task(self.stopping.wait())]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        finally:
            await connection.close(timeout=2)
