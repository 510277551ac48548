"""Real processes under a supervisor, whose watchdog is so quick that a test can wait for it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aio_pika.abc import AbstractConnection

from cli.home import Home
from cli.up.keeper import Keeper
from cli.up.member import Program
from cli.up.roster import Roster
from libs.chassis.amqp.declare import depth
from libs.chassis.amqp.silence import LOOKS
from libs.contracts.topology import DEAD_LETTERS, HOSTS_PRESENCE, RESULTS_PERSIST
from libs.stack.process import Child
from tests.support.amqp_proxy import AmqpProxy
from tests.support.wait import until_async

ROOT = Path(__file__).parents[2]
LIMIT = 2.0
"""Seconds until a consumer is silent."""
TO_END = 4 * LIMIT
"""Seconds in which its process has ended: the limit, a look more, and a machine that is busy."""
SAYS_SO = "A consumer is silent"
CENTRAL = (RESULTS_PERSIST, HOSTS_PRESENCE, DEAD_LETTERS)


@dataclass(frozen=True)
class Kept:
    """A process that is started again whenever it ends."""

    keeper: Keeper
    log: Path

    @property
    def child(self) -> Child:
        """The process that runs, or the last one that did."""
        assert self.keeper._child is not None
        return self.keeper._child

    @property
    def deaths(self) -> int:
        """How often it ended."""
        return self.keeper.deaths

    def silences(self) -> int:
        """How often one of its consumers was called silent."""
        return self.log.read_text().count(SAYS_SO)

    async def ended(self, *, within: float = TO_END) -> None:
        """Wait until it has ended by itself."""
        await true(lambda: self.deaths > 0, within=within, what=f"the end of {self.keeper.name}")

    def is_well(self) -> bool:
        """It has never ended, and no consumer was called silent."""
        return self.deaths == 0 and self.silences() == 0


@asynccontextmanager
async def kept(name: str, module: str, environment: dict[str, str], place: Path) -> AsyncIterator[Kept]:
    """A real process under the supervisor of `rigbeat up`; stopped at the end of the block, however that ends."""
    (place / "home").mkdir(exist_ok=True)
    common = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}  # noqa: TID251 - of the test itself
    command = (sys.executable, "-m", module)
    log = place / f"{name}.log"
    program = Program(name, command, common | environment, log, ROOT)
    keeper = Keeper(name, program, Roster(Home(place / "home"), [name]))
    keeper.start()
    try:
        yield Kept(keeper, log)
    finally:
        # In a thread: it waits for its broker's answers, which may come through a proxy of this loop.
        await asyncio.to_thread(keeper.stop)


def ingest_environment(amqp_url: str, database_url: str, *, limit: float = LIMIT) -> dict[str, str]:
    """What `services.api.ingest` needs to be told."""
    return {
        "RIGBEAT_INGEST_DATABASE_URL": database_url,
        "RIGBEAT_AMQP_URL": amqp_url,
        "RIGBEAT_WATCHDOG_SECONDS": str(limit),
    }


async def are_consumed(connection: AbstractConnection, *queues: str, within: float = 20) -> None:
    """Wait until the broker knows one consumer of each queue; of a quorum queue it counts only the active one."""

    async def are() -> bool:
        return [(await depth(connection, queue))[1] for queue in queues] == [1] * len(queues)

    await until_async(are, within=within, what=f"{queues} are consumed")


async def consumes(proxy: AmqpProxy, *queues: str, within: float = 20) -> None:
    """Wait until somebody behind the proxy has asked for all of these."""
    await true(lambda: set(queues) <= proxy.consumed, within=within, what=f"{queues}, not only {proxy.consumed}")


async def has_looked(proxy: AmqpProxy, limits: float, *, limit: float = LIMIT, watchdogs: int = 1) -> None:
    """Wait until every watchdog behind the proxy has looked so often that a silence had been found so many times.

    Each look sends an echo. `watchdogs` share one way of echoes, so that each hears those of all.
    """
    asked = proxy.consumed - {HOSTS_PRESENCE}
    echoes = [queue for queue in asked if queue.startswith("amq.gen-") or queue.endswith(".presence")]
    before, wanted = proxy.delivered, limits * LOOKS * watchdogs
    assert echoes, asked

    def come() -> list[int]:
        now = proxy.delivered
        return [now[queue] - before[queue] for queue in echoes]

    within = 3 * limits * limit + 5
    try:
        await true(lambda: min(come()) >= wanted, within=within, what="echoes")
    except AssertionError:
        pytest.fail(f"within {within} s {come()} echoes came, not {wanted} to each of {echoes}")


async def true(condition: Callable[[], object], *, within: float, what: str) -> None:
    """Wait for a condition that is known at once."""

    async def answer() -> bool:
        return bool(condition())

    await until_async(answer, within=within, what=what)


class Stopwatch:
    """Counts from its making, and prints what it showed when something had come about (`pytest -rP`)."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began

    def says(self, what: str) -> None:
        """Print it."""
        print(f"after {self.seconds:.1f} s: {what}")  # noqa: T201 - a figure for who asks
