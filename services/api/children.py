"""The child processes of the API: started, watched, started again, and never outliving their parent.

Each child is a fresh interpreter (`spawn`), because a fork would share connections and event loops.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger

log = get_logger(__name__)

SPAWN = multiprocessing.get_context("spawn")

# A child that lived so long was a good one: the next pause starts small again.
GOOD_AFTER_SECONDS = 10.0

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep alive: `entry` (`module:function`) is called there with `arguments` for the exit code."""

    name: str
    entry: str
    arguments: tuple[Any, ...] = ()


class Children(Part):
    """Keeps the children running until it is told to stop; then they get SIGTERM, and SIGKILL when time is up.

    `on_end` is called with the process id of each that has ended, however it did.
    """

    name = "children"

    def __init__(
        self, children: Sequence[Child], *, drain_seconds: float, on_end: Callable[[int], None] = lambda _pid: None
    ) -> None:
        super().__init__()
        self._children = children
        self._drain_seconds = drain_seconds
        self._on_end = on_end

    async def run(self) -> None:
        """Keep them all."""
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(self._keep(child), name=child.name)

    async def _keep(self, child: Child) -> None:
        pauses = delays()
        loop = asyncio.get_running_loop()
        while not self.stopping.is_set():
            process = SPAWN.Process(
                target=_born, args=(os.getpid(), child.entry, child.arguments), name=child.name, daemon=True
            )
            process.start()
            begun = loop.time()
            log.info("Started a child", child=child.name, pid=process.pid)
            try:
                await self._until_ended_or_told(process)
                if self.stopping.is_set():
                    await self._end(process)
                    return
            finally:
                if process.is_alive():
                    process.kill()
                process.join()
                if process.pid is not None:
                    self._on_end(process.pid)
            if loop.time() - begun >= GOOD_AFTER_SECONDS:
                pauses = delays()
            pause = next(pauses)
            log.error(
                "A child ended and is started again",
                child=child.name,
                pid=process.pid,
                exit_code=process.exitcode,
                again_in_seconds=pause,
            )
            try:
                await asyncio.wait_for(self.stopping.wait(), pause)
            except TimeoutError:
                continue

    async def _until_ended_or_told(self, process: BaseProcess) -> None:
        waiting = {asyncio.create_task(_ended(process)), asyncio.create_task(self.stopping.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _end(self, process: BaseProcess) -> None:
        process.terminate()
        try:
            await asyncio.wait_for(_ended(process), self._drain_seconds)
        except TimeoutError:
            log.warning("A child did not end in its time and is killed", child=process.name, pid=process.pid)


async def _ended(process: BaseProcess) -> None:
    """Wait for the end without a thread: the sentinel becomes readable."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(process.sentinel, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(process.sentinel)


def _born(parent: int, entry: str, arguments: tuple[Any, ...]) -> None:
    """The first thing a child does: tie its life to its parent's, then its work."""
    # SIGKILL: a child that drains for long would hold the port against the parent's successor.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    sys.exit(pkgutil.resolve_name(entry)(*arguments))
