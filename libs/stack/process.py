"""Processes that end with this one, whatever ends it: the only place of the stack that starts any.

The kernel sends the death signal when the *thread* that started a child ends, not the process. So long-running children
are started by one thread that lives as long as the process does, whichever thread asks for them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from libs.stack.errors import StackError

LARGEST_LOG_BYTES = 64 << 20
"""A larger log is set aside, under the name `….1`, when its program is started again."""
_LAST_WORDS_BYTES = 8192
_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class User:
    """Whom a child runs as, when this process is root."""

    name: str
    uid: int
    gid: int


class Child:
    """A started process, leader of a process group of its own (Ctrl-C in a terminal does not reach it)."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self.started_at = time.time()
        self._process = process

    @property
    def pid(self) -> int:
        """The process id; it stays the same over the execs of launch scripts."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    def wait(self, within: float) -> int | None:
        """As `poll`, but waits up to `within` seconds for the end."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone; nothing happens when it has ended."""
        self._process.send_signal(number)

    def terminate(self, grace: float, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, wait up to `grace` seconds, then kill; the exit code. Boring when it has ended."""
        self.send(number)
        code = self.wait(grace)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """Kill its whole process group at once; the exit code. Boring when it has ended."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)  # not yet waited for, so the group still exists
        return self._process.wait()

    def last_words(self, lines: int = 4) -> str:
        """The end of its log on one line, for the sentence that says why it did not start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES, 0))
            return _tail(log.read().decode(errors="replace"), lines)


def _tail(text: str, lines: int) -> str:
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None,
    log: Path,
    cwd: Path | None = None,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    keep_open: Sequence[int] = (),
) -> Child:
    """Start a program that gets `death_signal` when this process ends.

    `command[0]` is an absolute path. Its output is appended to `log`. It inherits the descriptors in `keep_open`, and
    this process's environment when `env` is None.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))

    def spawn() -> Child:
        with log.open("ab") as output:
            process = subprocess.Popen(
                _launched(command, user, death_signal),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                process_group=0,
                pass_fds=tuple(keep_open),
            )
        return Child(name, process, log)

    return _in_lasting_thread(spawn)


@dataclass(frozen=True)
class Finished:
    """A short command that has ended; `output` holds both of its streams."""

    code: int
    output: str

    def tail(self, lines: int = 3) -> str:
        """Its last words on one line."""
        return _tail(self.output, lines)


def run(
    command: Sequence[str | Path],
    *,
    within: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: User | None = None,
) -> Finished:
    """Run a short command to its end; without `env` it inherits this process's. StackError after `within` seconds."""
    try:
        ended = subprocess.run(
            _launched(command, user, signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        raise StackError(f"{command[0]} did not end within {within:.0f} s; try again, or run it by hand.") from slow
    return Finished(ended.returncode, ended.stdout.decode(errors="replace"))


def _launched(command: Sequence[str | Path], user: User | None, death_signal: signal.Signals) -> list[str]:
    who = ("-", "-") if user is None else (str(user.uid), str(user.gid))
    told = (str(os.getpid()), str(int(death_signal)), *who, *map(str, command))
    return [sys.executable, "-I", "-S", str(_LAUNCH), *told]


_starting = threading.Lock()
_requests: SimpleQueue[tuple[Callable[[], Child], Future[Child]]] = SimpleQueue()
_starters: list[threading.Thread] = []


def _in_lasting_thread(spawn: Callable[[], Child]) -> Child:
    with _starting:
        if not _starters:
            thread = threading.Thread(target=_serve, name="stack-starter", daemon=True)
            thread.start()
            _starters.append(thread)
    answer: Future[Child] = Future()
    _requests.put((spawn, answer))
    return answer.result()


def _serve() -> None:
    while True:
        spawn, answer = _requests.get()
        try:
            answer.set_result(spawn())
        except OSError as refused:
            answer.set_exception(refused)
