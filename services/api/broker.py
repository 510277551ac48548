"""How full the broker's queues are: asked over one connection that each web worker keeps, remembered for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import close, connect, lost
from libs.chassis.amqp.declare import depths
from libs.chassis.errors import ChassisError, ConnectionLost, Transient
from libs.chassis.logs import get_logger

log = get_logger(__name__)

NAME = "rigbeat-api-broker"
KEPT_SECONDS = 2.0
PATIENCE_SECONDS = 2.0
SHORT_PATIENCE_SECONDS = 0.5
_MOST_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages that are ready in a queue, and its consumers."""

    ready: int
    consumers: int


class Broker:
    """Looks at queues by passive declares; `clock` gives seconds that only grow. Opened by the first question."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._turn = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._kept: dict[str, tuple[float, Depth | None]] = {}
        self._away_until = 0.0

    async def depths(self, queues: Sequence[str], *, within: float = PATIENCE_SECONDS) -> dict[str, Depth | None]:
        """Each queue's depth, at most two seconds old; None for one that does not exist.

        Raises `Transient` when the broker does not answer within so many seconds, then for two seconds at once.
        """
        async with self._turn:
            if len(self._kept) > _MOST_KEPT:
                self._kept.clear()
            stale = [queue for queue in dict.fromkeys(queues) if not self._is_fresh(queue)]
            if stale:
                await self._look(stale, within)
            return {queue: self._kept[queue][1] for queue in queues}

    async def depths_if_there(self, queues: Sequence[str]) -> dict[str, Depth | None]:
        """The same; nothing is known when the broker is away."""
        try:
            return await self.depths(queues, within=SHORT_PATIENCE_SECONDS)
        except Transient:
            return dict.fromkeys(queues)

    async def close(self) -> None:
        """Close the connection; a question would open another."""
        async with self._turn:
            self._drop()
            if self._closing:
                await asyncio.wait(self._closing)

    def _is_fresh(self, queue: str) -> bool:
        kept = self._kept.get(queue)
        return kept is not None and self._clock() - kept[0] < KEPT_SECONDS

    async def _look(self, queues: Sequence[str], within: float) -> None:
        if self._clock() < self._away_until:
            raise ConnectionLost("the broker was away a moment ago")
        try:
            async with asyncio.timeout(within):
                connection = await self._connected()
                found = await depths(connection, queues)
        except (ChassisError, TimeoutError) as error:
            self._away_until = self._clock() + KEPT_SECONDS
            log.warning("The broker's queues cannot be looked at", reason=str(error) or "no answer in time")
            self._drop()
            raise ConnectionLost(f"the broker's queues cannot be looked at: {error}") from error
        now = self._clock()
        self._kept |= {queue: (now, None if one is None else Depth(*one)) for queue, one in found.items()}

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None and lost(self._connection).done():
            self._drop()
        if self._connection is None:
            self._connection = await connect(self._url, name=NAME)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # In a task: a broker that does not answer lets a close wait for long, and others wait for their turn.
            task = asyncio.create_task(close(connection))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
