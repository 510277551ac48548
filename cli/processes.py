"""`HOME/processes.json`: what runs here. Written by `rigbeat up`, read by everybody, also when nothing runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cli.home import Home, write_whole

Status = Literal["up", "down", "restarting"]


@dataclass(frozen=True)
class Process:
    """A process as it was started.

    `started_at` is RFC 3339 in UTC. `start_ticks` is the kernel's own time of its start: together with the pid it is
    the identity, since a pid alone may belong to somebody else by now.
    """

    name: str
    pid: int
    port: int | None
    started_at: str
    start_ticks: int | None


def write(home: Home, processes: Sequence[Process]) -> None:
    """Write the file whole, by rename."""
    write_whole(home.processes, json.dumps([asdict(process) for process in processes], indent=2) + "\n")


def read(home: Home) -> list[Process]:
    """What the file says; nothing when there is none. `ValueError` when it is not what `write` wrote."""
    try:
        text = home.processes.read_text()
    except FileNotFoundError:
        return []
    names = Process.__dataclass_fields__
    try:
        return [Process(**{name: entry.get(name) for name in names}) for entry in json.loads(text)]
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{home.processes} is not a list of processes") from error


def start_ticks(pid: int) -> int | None:
    """When the kernel started this process, in ticks since boot; None when it does not live (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in brackets, which may hold spaces and brackets itself.
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


def is_alive(process: Process) -> bool:
    """Whether this very process lives, and not another one with its pid."""
    ticks = start_ticks(process.pid)
    return ticks is not None and process.start_ticks in (None, ticks)


def supervisor(home: Home) -> int | None:
    """The pid of the `rigbeat up` that works here, None when none does."""
    try:
        pid, ticks = (int(word) for word in home.lock.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid if start_ticks(pid) == ticks else None


def status(alive: bool, supervised: bool) -> Status:
    """`restarting` is what is dead while somebody is there who starts it again."""
    if alive:
        return "up"
    return "restarting" if supervised else "down"
