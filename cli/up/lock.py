"""One system in one HOME: a file lock that the kernel gives up with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cli import processes
from cli.errors import CliError, ExitCode
from cli.home import Home


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Be the only `rigbeat up` of this home; `CliError` names the other one."""
    file = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = processes.supervisor(home)
            who = "another process" if pid is None else f"pid {pid}"
            stop = "stop that first" if pid is None else f"stop it with Ctrl-C or kill {pid}"
            raise CliError(
                ExitCode.NO, f"Rigbeat already runs in {home.path} ({who}): {stop}, or use another --home."
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()} {processes.start_ticks(os.getpid())}\n".encode())
        yield
    finally:
        os.close(file)
