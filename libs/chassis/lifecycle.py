"""How long-lived parts start, stop and end, and how a process made of them does.

A `Part` tolerates every order of calls: start twice, stop twice, stop before start (it then never starts), both at
once. `serve` runs parts until a signal or until the first of them ends: a part that ends by itself is a fault, because
the process would go on half dead.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NoReturn, TypeVar

from libs.chassis import logs
from libs.chassis.logs import get_logger
from libs.chassis.settings import ServiceSettings, SettingsError, load

S = TypeVar("S", bound=ServiceSettings)

log = get_logger(__name__)

# How long a cancelled body may take for its `finally` blocks, in seconds, before it is left behind.
CANCEL_SECONDS = 3.0

EXIT_CONFIGURATION = 2


class Part(ABC):
    """Something that lives as long as the process: override `run`.

    `run` works until `stopping` is set, then finishes what it has begun and returns. If that takes longer than the
    time given to `stop`, it is cancelled.
    """

    name: str = ""

    def __init__(self, name: str = "") -> None:
        self.name = name or self.name or type(self).__name__
        self.stopping = asyncio.Event()
        self._ready = True
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    @abstractmethod
    async def run(self) -> None:
        """The body."""

    async def start(self) -> None:
        """Begin; a second call, or one after `stop`, does nothing. An override opens what it needs, then calls this."""
        if self._task is None and not self.stopping.is_set():
            self._task = asyncio.create_task(self.run(), name=self.name)

    async def stop(self, within: float) -> None:
        """Tell the body to stop, wait `within` seconds, then cancel it; raises nothing of what the body raised."""
        self.stopping.set()
        task = self._task
        if task is None or task.done():
            return
        await asyncio.wait({task}, timeout=max(within, 0.0))
        if task.done():
            return
        if not self._cancelled:  # a second cancel would interrupt the cleaning up that the first one began
            self._cancelled = True
            log.warning("A part did not stop in its time and is cancelled", part=self.name, within_seconds=within)
            task.cancel()
        _, left = await asyncio.wait({task}, timeout=CANCEL_SECONDS)
        if left:
            log.error("A part does not end even when cancelled, and is left behind", part=self.name)

    @property
    def ready(self) -> bool:
        """For `/readyz`: started, not ended, and not set to False by the part itself."""
        return self._ready and self._task is not None and not self._task.done()

    @ready.setter
    def ready(self, value: bool) -> None:
        self._ready = value

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The running or ended body; None before the start."""
        return self._task

    @property
    def failure(self) -> BaseException | None:
        """What the ended body raised; None while it runs, or if it returned or was cancelled."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()


def readiness(parts: Iterable[Part]) -> dict[str, bool]:
    """What `HealthServer` asks for, from the parts themselves."""
    return {part.name: part.ready for part in parts}


async def serve(
    parts: Sequence[Part],
    *,
    drain_seconds: float = 20.0,
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> int:
    """Run `parts` and return the exit code of the process.

    They start in order. On a signal, or when the first part ends, all stop in reverse order within `drain_seconds`
    altogether. 0 after a signal; 1 if a part could not start, ended or crashed by itself, which is logged with its
    traceback.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in signals:
        loop.add_signal_handler(each, told.set)
    try:
        started: list[Part] = []
        healthy = True
        for part in parts:
            started.append(part)
            if not await _succeeds(part.start(), part, "start"):
                healthy = False
                break
        if healthy:
            log.info("Started", parts=[part.name for part in parts])
            await _until_told_or_ended(told, started)
            healthy = not _report_ended(started) and told.is_set()
        log.info("Stopping", drain_seconds=drain_seconds)
        clean = await _stop_all(started, drain_seconds)
        if healthy:
            clean &= not _report_ended([part for part in started if part.failure is not None])
        log.info("Stopped")
        return 0 if healthy and clean else 1
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def _succeeds(step: Awaitable[None], part: Part, doing: str) -> bool:
    try:
        await step
    except Exception:  # supervisor: a part may fail to start or stop in any way, and the others must still stop
        log.exception("A part failed", part=part.name, doing=doing)
        return False
    return True


async def _until_told_or_ended(told: asyncio.Event, parts: Sequence[Part]) -> None:
    signalled = asyncio.create_task(told.wait())
    try:
        await asyncio.wait(
            {signalled, *(part.task for part in parts if part.task is not None)},
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        signalled.cancel()


def _report_ended(parts: Sequence[Part]) -> bool:
    ended = [part for part in parts if part.task is not None and part.task.done()]
    for part in ended:
        if part.failure is not None:
            log.error("A part crashed", part=part.name, exc_info=part.failure)
        else:
            log.error("A part ended by itself", part=part.name)
    return bool(ended)


async def _stop_all(parts: Sequence[Part], drain_seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    clean = True
    deadline = loop.time() + drain_seconds
    for part in reversed(parts):
        clean &= await _succeeds(part.stop(max(deadline - loop.time(), 0.0)), part, "stop")
    return clean


def main(
    service: str,
    settings_cls: type[S],
    build: Callable[[S], Sequence[Part] | Awaitable[Sequence[Part]]],
    *,
    drain_seconds: float = 20.0,
    uvloop: bool = False,
) -> NoReturn:
    """Be the service until a signal, then raise `SystemExit`.

    0 after a signal, 1 if a part ended by itself, 2 if the configuration is wrong (every bad value on standard error).
    `build` is called inside the running loop. `uvloop` takes its loop, which must then be installed: quicker with
    sockets, slower with processes.
    """
    try:
        settings = load(settings_cls)
    except SettingsError as error:
        sys.stderr.write(f"{service}: the configuration is wrong:\n")
        sys.stderr.writelines(f"  {problem}\n" for problem in error.problems)
        sys.exit(EXIT_CONFIGURATION)
    logs.configure(service, settings.log_format)

    async def live() -> int:
        built = build(settings)
        parts = await built if inspect.isawaitable(built) else built
        return await serve(parts, drain_seconds=drain_seconds)

    with asyncio.Runner(loop_factory=_uvloop_factory() if uvloop else None) as runner:
        sys.exit(runner.run(live()))


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    # Not at the top: a device host has no uvloop.
    from uvloop import new_event_loop

    return new_event_loop
