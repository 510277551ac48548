"""LISTEN: sooner than the next look. A notification that is lost costs a wait, never a fire or a wrong answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger.pool import DATABASE_AWAY, connect

log = get_logger(__name__)

CLOSE_SECONDS = 2.0


class Listener(Part):
    """Keeps one listening connection, opened anew when it is lost, and calls `heard[channel](payload)`.

    `on_listening` is called after each opening: for whatever was notified while nobody listened.
    """

    def __init__(
        self,
        url: str,
        heard: Mapping[str, Callable[[str], None]],
        *,
        application: str,
        on_listening: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__("listen")
        self._url = url
        self._heard = heard
        self._application = application
        self._on_listening = on_listening

    async def run(self) -> None:
        """Listen until told to stop."""
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
        connection = await connect(self._url, application=self._application)
        gone = asyncio.Event()
        connection.add_termination_listener(lambda *_: gone.set())
        try:
            for channel in self._heard:
                await connection.add_listener(channel, self._notified)
            self._on_listening()
            waiting = [asyncio.create_task(gone.wait()), asyncio.create_task(self.stopping.wait())]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
        finally:
            await connection.close(timeout=CLOSE_SECONDS)

    def _notified(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._heard[channel](str(payload))
