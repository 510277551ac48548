"""How far the host's clock is from the database's."""

from __future__ import annotations

from datetime import datetime, timedelta

MAX_ROUND_TRIP = timedelta(seconds=2)
"""A slower answer says too little: the offset could be wrong by half of it."""


def offset_seconds(sent: datetime, received: datetime, db_time: datetime) -> float | None:
    """What to add to the host's clock for database time; None when the round trip was too slow to tell.

    `sent` and `received` are in the host's clock: offset = db_time - (sent + received) / 2.
    """
    round_trip = received - sent
    if not timedelta() <= round_trip < MAX_ROUND_TRIP:
        return None
    return (db_time - (sent + round_trip / 2)).total_seconds()
