"""Live pieces of the logs that somebody follows, from the broker: what may be missing is in the stored parts.

One connection for the worker, opened when the first follower comes; one queue for each followed execution, shared by
its followers and gone with the last of them. Everything that waits is bounded: the oldest goes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from uuid import UUID

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.message import Incoming
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.amqp.temporary import temporary_queue
from libs.chassis.errors import ChassisError, Refused
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import ContractError, LogPiece, decode
from libs.contracts.topology import LOGS, log_key

PREFETCH = 16
MOST_QUEUED = 256
"""Pieces in the broker."""
MOST_WAITING_BYTES = 1 << 20
"""Of one follower."""
AGAIN_SECONDS = 1.0
AFTER_REFUSAL_SECONDS = 30.0

log = get_logger(__name__)

Key = tuple[str, UUID]
"""A host and one of its executions: what another host says about the execution is not heard."""


class Inbox:
    """What came for one follower."""

    def __init__(self, key: Key, heard: Set[Key]) -> None:
        self._key = key
        self._heard = heard
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    @property
    def is_listening(self) -> bool:
        """Whether pieces come in at all."""
        return self._key in self._heard

    def put(self, offset: int, content: bytes) -> None:
        """Another piece."""
        self._pieces.append((offset, content))
        self._bytes += len(content)
        while self._bytes > MOST_WAITING_BYTES:
            self._bytes -= len(self._pieces.popleft()[1])
        self._news.set()

    async def wait(self, seconds: float) -> list[tuple[int, bytes]]:
        """All that came: offsets and bytes, as soon as there is something; empty after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        pieces = list(self._pieces)
        self._pieces.clear()
        self._bytes = 0
        self._news.clear()
        return pieces


class LiveLogs(Part):
    """Listens for whoever follows."""

    name = "live-logs"

    def __init__(self, amqp_url: str) -> None:
        super().__init__()
        self._url = amqp_url
        self._followed: dict[Key, list[Inbox]] = {}
        self._heard: set[Key] = set()
        self._changed = asyncio.Event()

    @contextmanager
    def follow(self, host: str, execution_id: UUID) -> Iterator[Inbox]:
        """An inbox for as long as the block lasts."""
        key = (host, execution_id)
        inbox = Inbox(key, self._heard)
        inboxes = self._followed.setdefault(key, [])
        inboxes.append(inbox)
        self._changed.set()
        try:
            yield inbox
        finally:
            inboxes.remove(inbox)
            if not inboxes:
                del self._followed[key]
                self._changed.set()

    async def run(self) -> None:
        """The body."""
        while not self.stopping.is_set():
            if not self._followed:
                await self._wait(self._changed, None)
                self._changed.clear()
                continue
            try:
                await forever(self._url, "api-live-logs", self._listen, self.stopping)
            except Refused as error:
                log.error("Logs are followed by their stored parts alone", reason=str(error))  # noqa: TRY400 # in words
                await self._wait(asyncio.Event(), AFTER_REFUSAL_SECONDS)

    async def _listen(self, connection: AbstractConnection) -> None:
        hearing: dict[Key, asyncio.Task[None]] = {}
        tasks: set[asyncio.Task[None]] = set()
        try:
            while not self.stopping.is_set():
                self._changed.clear()
                for key in self._followed.keys() - hearing.keys():
                    hearing[key] = asyncio.create_task(self._hear(connection, key))
                    tasks.add(hearing[key])
                    hearing[key].add_done_callback(tasks.discard)
                for key in hearing.keys() - self._followed.keys():
                    hearing.pop(key).cancel()
                await self._wait(self._changed, None)
        finally:
            for task in hearing.values():
                task.cancel()
            if tasks:
                await asyncio.wait(set(tasks))

    async def _hear(self, connection: AbstractConnection, key: Key) -> None:
        """Hand on what is said about one execution, until cancelled; after every mishap again."""
        host, execution_id = key
        while True:
            try:
                queue = await temporary_queue(connection, LOGS, log_key(host, execution_id), most=MOST_QUEUED)
                subscription = await Subscription.open(connection, queue, prefetch=PREFETCH, stopping=self.stopping)
                try:
                    self._heard.add(key)
                    while (message := await subscription.next()) is not None:
                        self._hand_on(key, message)
                        await subscription.ack(message.delivery_tag)
                    return
                finally:
                    self._heard.discard(key)
                    await subscription.close()
            except ChassisError as error:
                log.info("No live pieces of a log for now", execution_id=str(execution_id), reason=str(error))
            await asyncio.sleep(AGAIN_SECONDS)

    def _hand_on(self, key: Key, message: Incoming) -> None:
        try:
            piece = decode(message.type, message.body)
        except ContractError as error:
            log.warning("A live piece that cannot be read", reason=str(error))
            return
        if isinstance(piece, LogPiece) and (piece.host, piece.execution_id) == key:
            for inbox in self._followed.get(key, ()):
                inbox.put(piece.offset, piece.data)

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Until the event, `stopping`, or the end of the time."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (event, self.stopping)]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
