"""How long messages are tried for which the broker has no queue. Pure: the time is an argument.

A broker that lost its data has no queues for a moment, until the API has made them anew; so what comes back is tried
again for a while before it goes to the dead letters.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Returned(Generic[Key]):
    """Since when and when last each message has come back, as one scheduler saw it, in seconds of a steady clock."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._seen: dict[Key, tuple[float, float]] = {}

    def given_up(self, tried: Collection[Key], returned: Collection[Key], now: float) -> frozenset[Key]:
        """Those of `returned` that have had no queue for so long that nobody will make one; `tried` holds them all."""
        # What another scheduler's turn it was is waited for on; but not for ever: it may have been sent, and come back
        # for another reason, another day.
        known = {
            key: (since, last) for key, (since, last) in self._seen.items() if now - last < 2 * self._patience_seconds
        }
        still = {key: known[key][0] if key in known else now for key in returned}
        asked = frozenset(tried)
        elsewhere = {key: times for key, times in known.items() if key not in asked}
        self._seen = elsewhere | {key: (since, now) for key, since in still.items()}
        return frozenset(key for key, since in still.items() if now - since >= self._patience_seconds)
