"""A network that is worse than any broker: every message several times, in another order, some of it seconds late.

While the folder of the orders holds a file `mangle` (a number: the seed), whatever a process publishes goes out one to
five times, shuffled; some of the copies, and of some messages all, come up to three seconds later, behind what was said
meanwhile. Of those the sender hears that they are confirmed: a broker may give on late what it has taken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.errors import ConnectionLost
from tests.support.wait import until_after_async

SWITCH = "mangle"
MOST_COPIES = 5
LATE = 0.3
LATEST_SECONDS = 3.0

Publish = Callable[..., Coroutine[Any, Any, list[Receipt]]]


class Mangler:
    """Wraps `Publisher.publish` of this process."""

    def __init__(self, folder: Path, process: str, publish: Publish) -> None:
        self._process = process
        self._switch = folder / SWITCH
        self._publish = publish
        self._rng: random.Random | None = None
        self._late: set[asyncio.Task[None]] = set()

    def install(self) -> None:
        """From now on."""
        mangler = self

        async def publish(self: Publisher, batch: Sequence[Outgoing], *, within: float = 5.0) -> list[Receipt]:
            return await mangler._send(self, batch, within)

        Publisher.publish = publish  # type: ignore[method-assign]

    async def _send(self, publisher: Publisher, batch: Sequence[Outgoing], within: float) -> list[Receipt]:
        if not batch or not self._switch.exists():
            return await self._publish(publisher, batch, within=within)
        if self._rng is None:
            self._rng = random.Random(f"{self._switch.read_text()} {self._process}")
        rng = self._rng
        order, late = list[int](), list[int]()
        for index, _ in enumerate(batch):
            for _ in range(rng.randint(1, MOST_COPIES)):
                (late if rng.random() < LATE else order).append(index)
        rng.shuffle(order)
        rng.shuffle(late)
        self._follow(publisher, [batch[index] for index in late], rng.uniform(0.1, LATEST_SECONDS))
        receipts = await self._publish(publisher, [batch[index] for index in order], within=within)
        # Of each message the first one counts: that is what its sender would have been told.
        return [receipts[order.index(index)] if index in order else Receipt.CONFIRMED for index, _ in enumerate(batch)]

    def _follow(self, publisher: Publisher, batch: Sequence[Outgoing], seconds: float) -> None:
        async def send() -> None:
            await until_after_async(seconds)
            try:
                await self._publish(publisher, batch)
            except ConnectionLost:
                return  # lost on its way, as copies may be

        task = asyncio.create_task(send())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
