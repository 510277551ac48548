"""Who keeps a run from starting, in a sentence for the person whose run it was: names, not ids. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from libs.contracts import SENTENCES, Reason
from services.host_runner.core.host import DeviceLock, Run

MOST_NAMES = 5
"""A longer list says less."""


def locked_by(lock: DeviceLock) -> str:
    """Who took the device, why, and until when (UTC, database time)."""
    parts = [lock.owner, lock.reason]
    if lock.expires_at is not None:
        parts.append(f"until {lock.expires_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    return f"{SENTENCES[Reason.DEVICE_LOCKED]}: {', '.join(filter(None, parts))}"


def held_by(run: Run) -> str:
    """Whose script runs on the device."""
    return f"{SENTENCES[Reason.DEVICE_BUSY]}: {run.trigger.deployment_name}"


def wanted_by(run: Run) -> str:
    """Who waits for the device, and came before."""
    return f"{SENTENCES[Reason.DEVICE_BUSY]}: {run.trigger.deployment_name} has been waiting for it"


def filled_by(running: Iterable[Run], max_parallel: int) -> str:
    """How many the host may run, and whose scripts they are."""
    names = sorted(f"{run.trigger.deployment_name} on {run.device}" for run in running)
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return f"{SENTENCES[Reason.HOST_BUSY]} ({max_parallel}): {', '.join([*names[:MOST_NAMES], *more])}"
