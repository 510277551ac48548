"""How far the host's clock is from the database's: the best of the latest answers, as NTP's filter does (RFC 5905).

An answer can be wrong by half of its round trip, and its way there and back are rarely alike: a busy scheduler alone
delays the one and not the other. So of the answers of the last minutes the quickest counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

MAX_STEP = timedelta(seconds=1)
"""NTP's corrections that are smaller are no setting of a clock; the readings follow them."""
MAX_ROUND_TRIP = timedelta(seconds=2)
"""A slower answer says too little: the offset could be wrong by half of it."""
KEPT = 8
"""So many answers are compared; one a minute, so that a clock that drifts is followed."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The host's clock, and beside it one that nobody can set (seconds since some start)."""

    wall: datetime
    steady: float

    def is_after_a_step(self, earlier: Moment) -> bool:
        """Whether the host's clock was set between `earlier` and this."""
        return abs(self.wall - earlier.wall - timedelta(seconds=self.steady - earlier.steady)) > MAX_STEP


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer: what to add to the host's clock for database time, and how far that may be off, in seconds."""

    offset_seconds: float
    error_seconds: float


@dataclass(frozen=True, slots=True)
class Readings:
    """The latest answers, oldest first."""

    kept: tuple[Reading, ...] = field(default=())

    def add(self, reading: Reading) -> Readings:
        """With one more. If it cannot be true together with the best, a clock was set, and it alone counts."""
        best = self.best
        if best is not None:
            difference = abs(reading.offset_seconds - best.offset_seconds)
            if difference > reading.error_seconds + best.error_seconds:
                return Readings((reading,))
        return Readings((*self.kept, reading)[-KEPT:])

    @property
    def best(self) -> Reading | None:
        """The one that is least off; None before the first."""
        return min(self.kept, key=lambda reading: reading.error_seconds, default=None)

    @property
    def are_few(self) -> bool:
        """Whether more are wanted soon."""
        return len(self.kept) < KEPT


def read(sent: datetime, received: datetime, db_time: datetime) -> Reading | None:
    """What an answer says; None when the round trip was too slow to tell.

    `sent` and `received` are in the host's clock: offset = db_time - (sent + received) / 2.
    """
    round_trip = received - sent
    if not timedelta() <= round_trip < MAX_ROUND_TRIP:
        return None
    return Reading((db_time - (sent + round_trip / 2)).total_seconds(), round_trip.total_seconds() / 2)
