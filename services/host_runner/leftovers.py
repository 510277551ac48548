"""Kills what a dead shim left behind: found by environment and cgroup, never by pid alone. Linux 5.4 or newer."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
LOOKS = 3
"""So often in a row nobody must be found: one who forks without end can be missed by one look."""
QUICK_LOOKS = 200
NEWEST = 8
"""Each quick look is at so many pids below the last one; it takes 0.1 ms."""

Member = tuple[int, int]
"""A pid, and when it started in ticks since boot: the same pid with another start is another process."""


def kill_leftovers(execution_id: str, within: float = 5.0) -> int:
    """Kill every process with this RIGBEAT_EXECUTION_ID in its environment, and what descends from such a one.

    Blocks until they are dead; returns how many there were. Raises `TimeoutError` when some still live after `within`
    seconds: they hang in the kernel, or belong to another user.
    """
    deadline = time.monotonic() + within
    killed: set[Member] = set()
    looks_in_vain = 0
    while looks_in_vain < LOOKS:
        found = _kill(execution_id, deadline)
        looks_in_vain = 0 if found else looks_in_vain + 1
        killed |= found
        if found and time.monotonic() >= deadline:
            raise TimeoutError(f"Processes of execution {execution_id} cannot be killed: {sorted(found)}")
    return len(killed)


def kill_cgroup(path: str, execution_id: str, within: float = 5.0) -> None:
    """Kill all in the cgroup that the shim of this execution made, also those that changed their environment.

    Blocks until they are dead, then removes it; does nothing when there is none. Raises `TimeoutError` when some still
    live after `within` seconds.
    """
    deadline = time.monotonic() + within
    group = Path(path)
    if group.name != f"rigbeat-{execution_id}" or CGROUPS not in group.parents:
        return
    try:
        with (group / "cgroup.events").open("rb", buffering=0) as events:
            changed = select.poll()
            changed.register(events, select.POLLPRI)
            while (left := deadline - time.monotonic()) > 0 and b"populated 1" in os.pread(events.fileno(), 4096, 0):
                (group / "cgroup.kill").write_text("1", encoding="ascii")
                changed.poll(max(1, int(left * 1000)))
        if left > 0:
            group.rmdir()
    except OSError:
        return  # never made, removed already, or older than Linux 5.14: the environment has to do
    if left <= 0:
        raise TimeoutError(f"Processes in {group} cannot be killed")


def _kill(execution_id: str, deadline: float) -> set[Member]:
    """One round: stop all, so that none is born while we look, then kill them and wait until they are dead."""
    stopped: dict[Member, int] = {}
    try:
        _stop_forking(execution_id, stopped)
        while _stop(execution_id, stopped):
            pass
        living = select.poll()
        for descriptor in stopped.values():
            _send(descriptor, signal.SIGKILL)
            living.register(descriptor, select.POLLIN)
        waiting = len(stopped)
        while waiting and time.monotonic() < deadline:
            for descriptor, _ in living.poll(max(1, int((deadline - time.monotonic()) * 1000))):
                living.unregister(descriptor)
                waiting -= 1
    finally:
        for descriptor in stopped.values():
            os.close(descriptor)
    return set(stopped)


def _stop_forking(execution_id: str, stopped: dict[Member, int]) -> None:
    """Stop who forks without end and is gone before a look at all processes comes to him: look at the newest alone."""
    for _ in range(QUICK_LOOKS):
        last = int(_read("/proc/loadavg").split()[-1])
        for pid in range(last, max(1, last - NEWEST), -1):
            if _is_marked(pid, execution_id) and (stat := _stat(pid)) is not None:
                _stop_one((pid, stat[1]), stopped)


def _is_marked(pid: int, execution_id: str) -> bool:
    wanted = b"RIGBEAT_EXECUTION_ID=" + os.fsencode(execution_id)
    return wanted in _read(f"/proc/{pid}/environ").split(b"\0")


def _stop(execution_id: str, stopped: dict[Member, int]) -> bool:
    """Look once, stop at once whom we find, and add a pidfd of each; whether there was a new one.

    Found are those who have the id in their environment, and whoever descends from such a one; but never this process.
    """
    children: dict[int, list[Member]] = {}
    ahead: list[Member] = []
    count = len(stopped)
    for pid in _pids():
        if _is_marked(pid, execution_id) and (stat := _stat(pid)) is not None:
            ahead.append((pid, stat[1]))
            _stop_one(ahead[-1], stopped)
        elif (stat := _stat(pid)) is not None:
            children.setdefault(stat[0], []).append((pid, stat[1]))
    for pid, _ in ahead:
        for child in children.pop(pid, ()):
            ahead.append(child)
            _stop_one(child, stopped)
    return len(stopped) > count


def _pids() -> list[int]:
    """Every pid, the newest first: who forks without end is gone before a look in another order comes to him."""
    last = int(_read("/proc/loadavg").split()[-1])
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 # quicker than a thousand Paths
    return sorted(pids, key=lambda pid: (pid > last, -pid))


def _stop_one(member: Member, stopped: dict[Member, int]) -> None:
    if member in stopped or member[0] == os.getpid():
        return
    try:
        descriptor = os.pidfd_open(member[0])
    except ProcessLookupError:
        return
    stat = _stat(member[0])
    if stat is None or stat[1] != member[1] or stat[2]:
        os.close(descriptor)  # another one by now, or dead
        return
    stopped[member] = descriptor
    _send(descriptor, signal.SIGSTOP)


def _stat(pid: int) -> tuple[int, int, bool] | None:
    """Its parent, its start, and whether it is dead already."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (int(fields[1]), int(fields[19]), fields[0] in b"ZX") if fields else None


def _send(descriptor: int, number: int) -> None:
    # Dead already, or another user's: whether it lives on is looked at afterwards.
    with suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(descriptor, number)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 # as above
            return file.read()
    except OSError:
        return b""
