"""How a script's process tree came to its end, as the shim wrote it down: a value only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class How(StrEnum):
    """What became of the script's own process."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    SPAWN_FAILED = "spawn_failed"
    NOT_SPAWNED = "not_spawned"
    """It was cancelled before there was a process."""
    INTERRUPTED = "interrupted"
    """The shim died before it could say; what was left of the tree is killed."""


class Cause(StrEnum):
    """Why the shim ended the tree; none when the script ended by itself."""

    TIMED_OUT = "timed_out"
    SILENT = "silent"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    """Somebody other than the runner told the shim to end: the machine goes down."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one execution's process tree: when this exists, nothing of the tree lives.

    `code` is there when it exited, `signal` (such as "SIGTERM") when a signal ended it. Times are in UTC, in the host's
    clock; `duration_seconds` is from the script's start to the end of the last of its processes, by a clock that is
    never set. `started_at` is None when the script never existed. `output_bytes` is what is in the output file,
    `dropped_bytes` what came over the cap or could not be written. `leftovers` is how many processes had outlived the
    script and were ended. `memory_kills` is how many the kernel killed because the run had used up its memory,
    `forks_refused` how often it let none be born because the run had as many as it may have; both are known of a run in
    a cgroup of its own alone. `error` is for people.
    """

    outcome: How
    ended_at: datetime
    code: int | None = None
    signal: str | None = None
    cause: Cause | None = None
    started_at: datetime | None = None
    duration_seconds: float | None = None
    output_bytes: int = 0
    dropped_bytes: int = 0
    leftovers: int = 0
    memory_kills: int = 0
    forks_refused: int = 0
    success_marker: bool | None = None
    result_id: UUID | None = None
    error: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the shim died before it could say how the script ended."""
        return self.outcome is How.INTERRUPTED
