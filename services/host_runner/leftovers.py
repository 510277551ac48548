"""Kills what a dead shim left behind: found by environment and cgroup, never by pid alone. Linux 5.4 or newer."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PAUSE_SECONDS = 0.02

Member = tuple[int, int]
"""A pid, and when it started in ticks since boot: the same pid with another start is another process."""


def kill_leftovers(execution_id: str, within: float = 5.0) -> int:
    """Kill every process with this RIGBEAT_EXECUTION_ID in its environment, and what descends from such a one.

    Blocks until they are dead; returns how many there were. Raises `TimeoutError` when some still live after `within`
    seconds: they hang in the kernel, or belong to another user.
    """
    deadline = time.monotonic() + within
    killed: set[Member] = set()
    while members := _members(execution_id):
        killed.update(_kill(members, execution_id, deadline))
        if time.monotonic() >= deadline:
            raise TimeoutError(f"Processes of execution {execution_id} cannot be killed: {sorted(killed)}")
        time.sleep(PAUSE_SECONDS)
    return len(killed)


def kill_cgroup(path: str, execution_id: str) -> None:
    """Kill all in the cgroup that the shim of this execution made, also those that changed their environment."""
    group = Path(path)
    if not path or group.name != f"rigbeat-{execution_id}" or CGROUPS not in group.parents:
        return
    # Older than Linux 5.14, never made, or removed already: then the environment has to do.
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1", encoding="ascii")


def remove_cgroup(path: str, execution_id: str) -> None:
    """Remove the cgroup once all in it are dead; harmless when there is none, or when some are not."""
    if path and Path(path).name == f"rigbeat-{execution_id}" and CGROUPS in Path(path).parents:
        with suppress(OSError):
            Path(path).rmdir()


def _kill(members: list[Member], execution_id: str, deadline: float) -> set[Member]:
    """One round: stop all, so that none is born while we look, then kill them and wait until they are dead."""
    stopped: dict[Member, int | None] = {}
    with ExitStack() as opened:
        while fresh := [member for member in members if member not in stopped]:
            for member in fresh:
                descriptor = stopped[member] = _open(member)
                if descriptor is not None:
                    opened.callback(os.close, descriptor)
                    _send(descriptor, signal.SIGSTOP)
            members = _members(execution_id)
        living = select.poll()
        held = [descriptor for descriptor in stopped.values() if descriptor is not None]
        for descriptor in held:
            _send(descriptor, signal.SIGKILL)
            living.register(descriptor, select.POLLIN)
        while held and time.monotonic() < deadline:
            for descriptor, _ in living.poll(max(1, int((deadline - time.monotonic()) * 1000))):
                living.unregister(descriptor)
                held.remove(descriptor)
    return set(stopped)


def _members(execution_id: str) -> list[Member]:
    """Who has the id in its environment, and whoever descends from such a one; but never this process."""
    wanted = b"RIGBEAT_EXECUTION_ID=" + os.fsencode(execution_id)
    children: dict[int, list[Member]] = {}
    found: dict[Member, None] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 # a thousand Paths take longer than all the rest
        if name.isdigit() and (stat := _stat(name)) is not None:
            parent, start, is_zombie = stat
            children.setdefault(parent, []).append((int(name), start))
            if not is_zombie and wanted in _read(f"/proc/{name}/environ").split(b"\0"):
                found[int(name), start] = None
    ahead = list(found)
    for pid, _ in ahead:
        for child in children.get(pid, ()):
            if child not in found:
                found[child] = None
                ahead.append(child)
    return [member for member in found if member[0] != os.getpid() and not _is_zombie(member)]


def _stat(pid: str) -> tuple[int, int, bool] | None:
    """Its parent, its start, and whether it is dead already."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (int(fields[1]), int(fields[19]), fields[0] in b"ZX") if fields else None


def _is_zombie(member: Member) -> bool:
    stat = _stat(str(member[0]))
    return stat is None or stat[1] != member[1] or stat[2]


def _open(member: Member) -> int | None:
    """A pidfd of just this process; None if it is gone."""
    try:
        descriptor = os.pidfd_open(member[0])
    except ProcessLookupError:
        return None
    if _is_zombie(member):
        os.close(descriptor)
        return None
    return descriptor


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
