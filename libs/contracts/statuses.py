"""The life of a deployment and of an execution: everything about transitions lives in this file.

The machines are data. A missing key is an illegal transition; an empty set says "terminal" aloud. The SQL checks, the
picture in docs/architecture.md and the API's document are tested equal to these tables.

Two rules do not fit the execution table and stand beside it:

- An ending that the centre only *presumed* (`presumed = true`) gives way to the host's word: see `may_follow`.
- A fact is never refused for being early. The fold accepts the *closure* of the table: a `finished` may arrive before
  its `started`, so `triggered -> completed` is fine for the ledger although no host goes that way in one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class DeploymentStatus(StrEnum):
    """Where a deployment stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    EXPIRED = "expired"


class ExecutionStatus(StrEnum):
    """Where one execution (one fire) stands."""

    TRIGGERED = "triggered"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Kind(StrEnum):
    """Why there is an execution."""

    CRON = "cron"
    MANUAL = "manual"
    CATCH_UP = "catch_up"


class CatchUp(StrEnum):
    """What becomes of fires that were due while no scheduler was there."""

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


class OnDeviceBusy(StrEnum):
    """What becomes of a fire whose device is taken."""

    SKIP = "skip"
    QUEUE = "queue"


_D = DeploymentStatus
_E = ExecutionStatus

DEPLOYMENT_TRANSITIONS: Mapping[DeploymentStatus, frozenset[DeploymentStatus]] = {
    _D.ACTIVE: frozenset({_D.PAUSED, _D.STOPPED, _D.COMPLETED, _D.EXPIRED}),
    _D.PAUSED: frozenset({_D.ACTIVE, _D.STOPPED, _D.COMPLETED, _D.EXPIRED}),
    _D.STOPPED: frozenset(),
    _D.COMPLETED: frozenset(),
    _D.EXPIRED: frozenset(),
}

EXECUTION_TRANSITIONS: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = {
    _E.TRIGGERED: frozenset({_E.QUEUED, _E.RUNNING, _E.SKIPPED, _E.CANCELLED, _E.FAILED}),
    _E.QUEUED: frozenset({_E.RUNNING, _E.SKIPPED, _E.CANCELLED, _E.FAILED}),
    _E.RUNNING: frozenset({_E.COMPLETED, _E.FAILED, _E.CANCELLED}),
    _E.COMPLETED: frozenset(),
    _E.FAILED: frozenset(),
    _E.SKIPPED: frozenset(),
    _E.CANCELLED: frozenset(),
}

OPEN = frozenset(status for status, following in EXECUTION_TRANSITIONS.items() if following)
ENDED = frozenset(ExecutionStatus) - OPEN
LIVE = frozenset(status for status, following in DEPLOYMENT_TRANSITIONS.items() if following)


def reachable(status: ExecutionStatus) -> frozenset[ExecutionStatus]:
    """Every status that can follow in one or more steps: what the fold accepts."""
    found: set[ExecutionStatus] = set()
    ahead = set(EXECUTION_TRANSITIONS[status])
    while ahead:
        found |= ahead
        ahead = {after for one in ahead for after in EXECUTION_TRANSITIONS[one]} - found
    return frozenset(found)


def may_follow(current: ExecutionStatus, following: ExecutionStatus, *, presumed: bool) -> bool:
    """Whether the host's word `following` moves a row that stands at `current`.

    `presumed` says that `current` is only the centre's presumption: then every word of the host is further on.
    """
    if presumed and current in {ExecutionStatus.FAILED, ExecutionStatus.SKIPPED}:
        return True
    return following in reachable(current)
