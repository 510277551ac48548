"""What must hold at every instant, watched on the process table: one tree per device, one run per deployment.

A script is known by RIGBEAT_EXECUTION_ID in its environment; its shim has that too and is told apart by its command.
Two looks are never at one instant, so who seems to be there together is looked at again, both twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.03


@dataclass(frozen=True)
class Script:
    """A process of a script. `start` tells it from a later one with the same pid."""

    pid: int
    start: str
    execution: str
    place: tuple[str, str]
    """Host and device."""

    def lives(self) -> bool:
        """Whether this very process is there and no zombie."""
        stat = _stat(self.pid)
        return stat is not None and stat == (self.start, False)


class Watcher:
    """Looks until it is stopped; `seen` are sentences about what must never be.

    Only scripts whose files are below `folder` count: other systems of this machine may have hosts of the same names.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: dict[str, None] = {}
        self.looks = 0
        self._ended_well = False
        self._known: dict[tuple[int, str], Script | None] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[str]:
        """End, and tell what was seen; also that nobody looked, which proves nothing."""
        self._over.set()
        self._thread.join(10)
        return list(self.seen) or ([] if self.looks and self._ended_well else ["nobody watched the process table"])

    def _watch(self) -> None:
        self._look()
        self._ended_well = True

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.looks += 1
            by_place: dict[tuple[str, str], dict[str, Script]] = {}
            for script in self._scripts():
                there = by_place.setdefault(script.place, {})
                for other in there.values():
                    if other.execution != script.execution and other.lives() and script.lives() and other.lives():
                        pair = " and ".join(sorted((other.execution, script.execution)))
                        self.seen[f"I3: {pair} are alive together on {script.place[0]}/{script.place[1]}"] = None
                there.setdefault(script.execution, script)

    def _scripts(self) -> list[Script]:
        found = []
        known: dict[tuple[int, str], Script | None] = {}
        for pid in _pids():
            stat = _stat(pid)
            if stat is None or stat[1]:
                continue
            key = (pid, stat[0])
            # Between fork and exec a process has its shim's command; so who is no script yet is looked at again.
            script = self._known.get(key) or _script(pid, stat[0], self._folder)
            known[key] = script
            if script is not None:
                found.append(script)
        self._known = known
        return found


def living() -> Iterator[tuple[int, str]]:
    """Pid and execution of every script and shim that lives."""
    for pid in _pids():
        stat = _stat(pid)
        environment = _environment(pid)
        if stat is not None and not stat[1] and "RIGBEAT_EXECUTION_ID" in environment:
            yield pid, environment["RIGBEAT_EXECUTION_ID"]


def executions_below(folder: Path) -> set[str]:
    """The executions whose scripts or shims live and keep their files in this folder."""
    found = set()
    for pid in _pids():
        environment = _environment(pid)
        if environment.get("RIGBEAT_ARTIFACTS_DIR", "").startswith(f"{folder}/"):
            found.add(environment["RIGBEAT_EXECUTION_ID"])
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _script(pid: int, start: str, folder: Path) -> Script | None:
    environment = _environment(pid)
    execution = environment.get("RIGBEAT_EXECUTION_ID")
    if execution is None or "RIGBEAT_DEVICE" not in environment or b"shim" in _read(f"/proc/{pid}/cmdline"):
        return None
    if not environment.get("RIGBEAT_ARTIFACTS_DIR", "").startswith(f"{folder}/"):
        return None
    return Script(pid, start, execution, (environment.get("RIGBEAT_HOST", ""), environment["RIGBEAT_DEVICE"]))


def _environment(pid: int) -> dict[str, str]:
    parts = (part.partition("=") for part in _read(f"/proc/{pid}/environ").decode(errors="replace").split("\0"))
    return {name: value for name, _, value in parts}


def _stat(pid: int) -> tuple[str, bool] | None:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (fields[19].decode(), fields[0] in b"ZX") if len(fields) > 19 else None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 # quicker than a thousand Paths
            return file.read()
    except OSError:
        return b""
