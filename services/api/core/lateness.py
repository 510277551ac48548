"""Where the time between a fire's nominal moment and its script's start went."""

from __future__ import annotations

from datetime import datetime


def lateness(
    *,
    scheduled_at: datetime,
    decided_at: datetime | None,
    published_at: datetime | None,
    received_at: datetime | None,
    queued_at: datetime | None,
    admitted_at: datetime | None,
    started_at: datetime | None,
) -> dict[str, float | None]:
    """The six parts in seconds; null where one of the two moments is not known. Together they are the lateness.

    A run that never stood in the slot was admitted at once: its wait is 0, and the host's decision is the admission.
    """
    taken = admitted_at if queued_at is None else queued_at
    return {
        "claim": _between(scheduled_at, decided_at),
        "publish": _between(decided_at, published_at),
        "queue": _between(published_at, received_at),
        "admission": _between(received_at, taken),
        "wait": _between(taken, admitted_at),
        "spawn": _between(admitted_at, started_at),
    }


def _between(earlier: datetime | None, later: datetime | None) -> float | None:
    return None if earlier is None or later is None else (later - earlier).total_seconds()
