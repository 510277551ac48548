"""A process of the stage: started again when it ends, as a supervisor does, unless a row holds it down."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from libs.stack.process import Child, start
from tests.support.wait import until

_LOOK_SECONDS = 0.03
_PAUSE_SECONDS = 0.2


class Actor:
    """One program and who keeps it."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name = name
        self.log = log
        self.ends: list[int] = []
        """Its exit codes so far (negative: the signal)."""
        self._command = list(command)
        self.environment = dict(environment)
        """Of its next start."""
        self._cwd = cwd
        self._child: Child | None = None
        self._is_wanted = threading.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)

    @property
    def pid(self) -> int:
        """Of its present process, dead or alive; 0 before the first."""
        return 0 if self._child is None else self._child.pid

    @property
    def lives(self) -> bool:
        """Whether it runs now."""
        return self._child is not None and self._child.poll() is None

    def begin(self) -> None:
        """Start it, and keep it."""
        self._is_wanted.set()
        self._start()
        self._thread.start()

    def send(self, number: signal.Signals, *, family: bool = False) -> None:
        """A signal to it, or to all that descends from it but the shims and what they own."""
        child = self._child
        if child is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            targets = [psutil.Process(child.pid)]
            targets += [each for each in targets[0].children() if family and "shim" not in " ".join(each.cmdline())]
            for target in targets:
                os.kill(target.pid, number)

    def kill(self) -> int:
        """`kill -9`, and wait until it runs again; the new pid."""
        before = self.pid
        self.send(signal.SIGKILL)
        return until(lambda: self.pid if self.lives and self.pid != before else 0, within=30, what=f"{self.name} again")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Killed, and kept down until the end of the block."""
        with self._lock:  # who starts it now has done so before, or does not any more
            self._is_wanted.clear()
        self.send(signal.SIGKILL)
        try:
            until(lambda: not self.lives, within=10, what=f"{self.name} is dead")
            yield
        finally:
            self._is_wanted.set()
        until(lambda: self.lives, within=30, what=f"{self.name} runs again")

    @contextlib.contextmanager
    def stopped(self, *, family: bool = False) -> Iterator[None]:
        """Under SIGSTOP until the end of the block."""
        self.send(signal.SIGSTOP, family=family)
        try:
            yield
        finally:
            self.send(signal.SIGCONT, family=family)

    def end(self) -> None:
        """Keep it no longer, and end it."""
        self._over.set()
        self._is_wanted.set()
        if self._thread.is_alive():
            self._thread.join(10)
        with self._lock:
            if self._child is not None:
                self.send(signal.SIGCONT, family=True)
                self._child.terminate(10)

    def _start(self) -> None:
        with self._lock:
            if self._is_wanted.is_set() and not self._over.is_set():
                self._child = start(self.name, self._command, env=self.environment, log=self.log, cwd=self._cwd)

    def _keep(self) -> None:
        counted: Child | None = None
        while not self._over.wait(_LOOK_SECONDS):
            child = self._child
            if child is None or child.poll() is None:
                continue
            if child is not counted:
                self.ends.append(child.poll() or 0)
                counted = child
            if self._over.wait(_PAUSE_SECONDS):
                return
            self._is_wanted.wait()
            self._start()
