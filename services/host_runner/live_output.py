"""What running scripts print, at once, for whoever watches: pieces that may be lost.

The stored log is the one that is whole (`uploads.py`), and whoever follows fills gaps from it. So nothing here is
confirmed, repeated or kept; what a script prints faster than that is skipped; without a running script nothing is done.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.message import Outgoing
from libs.chassis.amqp.unconfirmed import UnconfirmedPublisher
from libs.chassis.errors import ConnectionLost
from libs.chassis.logs import get_logger
from libs.contracts import LogPiece, encode
from services.host_runner.concurrency import either, pause
from services.host_runner.journal import APP_ID
from services.host_runner.runner import Runner

LOOK_SECONDS = 0.1
PIECE_BYTES = 64 << 10
"""Of one run at one look."""
BEHIND_BYTES = 256 << 10
"""A run that is further ahead of us is not caught up with: we go on with the newest."""
LOOK_BYTES = 512 << 10
"""Of all runs at one look: some 5 MB a second."""
AFTER_LOSS_SECONDS = 1.0

log = get_logger(__name__)


class LiveOutput:
    """Reads the output files of the runs that run. `new_id` draws the ids of messages."""

    def __init__(self, runner: Runner, runs_dir: Path, output_name: str, *, new_id: Callable[[], UUID]) -> None:
        self._runner = runner
        self._runs_dir = runs_dir
        self._output_name = output_name
        self._new_id = new_id
        self._at: dict[UUID, int] = {}

    async def publish(self, connection: AbstractConnection, stopping: asyncio.Event) -> None:
        """Publish what comes, until `stopping` is set. Never ends the session: what goes wrong here is only told."""
        publisher = UnconfirmedPublisher(connection)
        self._at = {run.id: self._size(run.id) for run in self._runner.host.running.values()}
        try:
            while not stopping.is_set():
                if not self._at:
                    await either(self._runner.is_busy, stopping)
                seconds = LOOK_SECONDS
                pieces = self._look()
                if pieces:
                    try:
                        await publisher.publish(pieces)
                    except ConnectionLost as error:
                        # The session sees the end of its connection by itself; of a channel nobody else needs to know.
                        log.info("Live output pauses", reason=str(error))
                        seconds = AFTER_LOSS_SECONDS
                await pause(seconds, stopping)
        finally:
            await publisher.close()

    def _look(self) -> list[Outgoing]:
        """The new output of all runs, within measure; those that ended are looked at for the last time."""
        running = {run.id for run in self._runner.host.running.values()}
        pieces: list[Outgoing] = []
        served: dict[UUID, int] = {}
        waiting: dict[UUID, int] = {}
        left = LOOK_BYTES
        for execution in [*self._at, *(running - self._at.keys())]:
            at, data = self._read(execution, self._at.get(execution, 0), min(PIECE_BYTES, left))
            left -= len(data)
            if data:
                pieces.append(self._message(execution, at, data))
            if execution in running:
                (served if data else waiting)[execution] = at + len(data)
        self._at = waiting | served  # who had no room now is among the first of the next look
        return pieces

    def _read(self, execution: UUID, at: int, most: int) -> tuple[int, bytes]:
        """Where the next piece begins, and the piece; empty when nothing came or there is no room for it."""
        size = self._size(execution)
        if size - at > BEHIND_BYTES:
            at = size - PIECE_BYTES
        if size <= at or most <= 0:
            return at, b""
        try:
            with self._path(execution).open("rb") as file:
                file.seek(at)
                return at, file.read(most)
        except OSError:  # gone, or unreadable: the upload says so
            return at, b""

    def _message(self, execution: UUID, offset: int, data: bytes) -> Outgoing:
        piece = LogPiece(host=self._runner.identity.host, execution_id=execution, offset=offset, data=b64encode(data))
        envelope = encode(piece, message_id=f"live:{self._new_id()}", at=self._runner.now(), app_id=APP_ID)
        return Outgoing(
            exchange=envelope.exchange,
            routing_key=envelope.routing_key,
            body=envelope.body,
            message_id=envelope.message_id,
            type=envelope.type,
            correlation_id=envelope.correlation_id,
            app_id=envelope.app_id,
            timestamp=envelope.timestamp,
            persistent=False,
            mandatory=False,
        )

    def _size(self, execution: UUID) -> int:
        try:
            return self._path(execution).stat().st_size
        except OSError:
            return 0

    def _path(self, execution: UUID) -> Path:
        return self._runs_dir / str(execution) / self._output_name
