"""What the system is made of: processes that can be started, and started again."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from libs.stack.process import Child, start


class Member(Protocol):
    """PostgreSQL and RabbitMQ (libs/stack) are such, and every `Program`."""

    @property
    def port(self) -> int | None:
        """Where it listens, once it was started."""

    def start(self) -> Child:
        """Start it, if it does not run. Raises `StackError` or `OSError`."""

    def stop(self) -> None:
        """Stop it orderly, then by force. Boring when it does not run."""


@dataclass
class Program:
    """A Python program of this repository."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)  # it holds passwords
    log: Path
    cwd: Path
    port: int | None = None
    grace_seconds: float = 8.0
    _child: Child | None = field(default=None, init=False, repr=False)

    def start(self) -> Child:
        """Start it."""
        if self._child is None or self._child.poll() is not None:
            self._child = start(self.name, self.command, env=self.environment, log=self.log, cwd=self.cwd)
        return self._child

    def ask_to_stop(self) -> None:
        """Tell it, without waiting."""
        if self._child is not None:
            self._child.send(signal.SIGTERM)

    def stop(self) -> None:
        """Tell it, wait for the grace time, then kill it."""
        if self._child is not None:
            self._child.terminate(self.grace_seconds)
