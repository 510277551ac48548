"""What a script may not pass: who it is, and how much it may take. Values only; the shim takes them on."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class User:
    """Who scripts are. `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""

    def may_write(self, owner: int, group: int, mode: int) -> bool:
        """Whether what is so owned can be changed by this user; its owner may always make it so that it can."""
        in_group = group == self.gid or group in self.groups
        return owner == self.uid or bool(mode & 0o002) or (in_group and bool(mode & 0o020))


@dataclass(frozen=True, slots=True)
class Bounds:
    """`user` None: the runner's own. Limits are bytes and numbers; None is no limit.

    With a `cgroup` memory and processes are those of a run's whole tree; without one, memory is what each process may
    have of its own (`RLIMIT_DATA`), and processes all those that the user has, threads among them (`RLIMIT_NPROC`).
    """

    user: User | None = None
    may_gain_rights: bool = False
    memory_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None
    cgroup: Path | None = None

    def options(self) -> Iterator[str]:
        """As the shim is told them."""
        if self.user is not None:
            yield from ("--user", f"{self.user.uid}:{self.user.gid}:{','.join(map(str, self.user.groups))}")
        if self.may_gain_rights:
            yield from ("--rights", "gain")
        # What may not be in memory must not be in swap instead.
        swap = None if self.memory_bytes is None else 0
        tree = {"memory.max": self.memory_bytes, "memory.swap.max": swap, "pids.max": self.processes}
        each = {resource.RLIMIT_FSIZE: self.file_bytes, resource.RLIMIT_NOFILE: self.open_files}
        if self.cgroup is None:
            # Not RLIMIT_AS: browsers and Java reserve far more addresses than they ever use.
            each |= {resource.RLIMIT_DATA: self.memory_bytes, resource.RLIMIT_NPROC: self.processes}
        else:
            yield from ("--cgroup", str(self.cgroup))
            yield from _told("--cgroup-limits", tree)
        yield from _told("--rlimits", each)


NONE = Bounds()
"""A script that is the runner's own user and may take all that there is."""


def _told(option: str, limits: Mapping[str, int | None] | Mapping[int, int | None]) -> Iterator[str]:
    text = ",".join(f"{name}={value}" for name, value in limits.items() if value is not None)
    if text:
        yield from (option, text)
