"""Programs that start servers and are killed: to see that nothing of theirs stays behind."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from libs.stack.process import Child, start
from tests.support.wait import until

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_READY = "parent: ready"


@dataclass(frozen=True)
class Parent:
    """A running Python program whose text has come to its end, and waits."""

    child: Child
    _seen: list[psutil.Process] = field(default_factory=list)

    def family(self) -> list[psutil.Process]:
        """All that it has started, and what that has started."""
        self._seen[:] = psutil.Process(self.child.pid).children(recursive=True)
        return list(self._seen)

    def kill(self) -> None:
        """`kill -9` of the program alone: nothing of it can run on the way out."""
        self.family()
        self.child.send(signal.SIGKILL)
        self.child.wait(5.0)

    def sweep(self) -> None:
        """What should be gone and is not, goes: a failed test leaves nothing behind."""
        if self.child.poll() is None:
            self.kill()
        for process in self._seen:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def parent(text: str, *arguments: str | Path, log: Path) -> Iterator[Parent]:
    """Run the text as a Python program of its own until it has come to its end; killed when the test ends."""
    source = f"{text}\nimport signal\nprint({_READY!r}, flush=True)\nsignal.pause()\n"
    env = {"PYTHONPATH": str(_ROOT), "HOME": str(Path.home()), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    child = start("parent", [sys.executable, "-c", source, *arguments], env=env, log=log, cwd=log.parent)
    started = Parent(child)
    try:
        until(lambda: child.poll() is not None or _READY in log.read_text(), within=_START_SECONDS, what="parent ready")
        assert child.poll() is None, log.read_text()
        yield started
    finally:
        started.sweep()


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; one that only waits for a slow init to be counted has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
