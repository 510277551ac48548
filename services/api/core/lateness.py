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

    `received_at` is there only if the host knew its clock's offset: without it the host's four parts are null. What was
    received had been published: the confirms of a batch are seen together, often after its first messages have arrived.
    A run that never stood in the slot was admitted at once: its wait is 0, and the host's decision is the admission.
    """
    sent_at = published_at
    if sent_at is not None and received_at is not None:
        sent_at = min(sent_at, received_at)
    if received_at is None:
        queued_at = admitted_at = started_at = None
    taken = admitted_at if queued_at is None else queued_at
    return {
        "claim": _between(scheduled_at, decided_at),
        "publish": _between(decided_at, sent_at),
        "queue": _between(sent_at, received_at),
        "admission": _between(received_at, taken),
        "wait": _between(taken, admitted_at),
        "spawn": _between(admitted_at, started_at),
    }


def late_seconds(*, scheduled_at: datetime, received_at: datetime | None, started_at: datetime | None) -> float | None:
    """From the nominal moment to the script's start; null before the start, or if the host did not know its offset."""
    return None if received_at is None else _between(scheduled_at, started_at)


def _between(earlier: datetime | None, later: datetime | None) -> float | None:
    return None if earlier is None or later is None else (later - earlier).total_seconds()
