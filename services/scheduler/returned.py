"""How long messages are tried for which the broker has no queue. Pure: the time is an argument.

A broker that lost its data has no queues for a moment, until the API has made them anew; so what comes back is tried
again for a while before it goes to the dead letters.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Returned(Generic[Key]):
    """Since when each message has come back, as far as one scheduler saw it. Times are seconds of any steady clock."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._since: dict[Key, float] = {}

    def given_up(self, tried: Collection[Key], returned: Collection[Key], now: float) -> frozenset[Key]:
        """Those of `returned` that have had no queue for so long that nobody will make one; `tried` holds them all."""
        still = {key: self._since.get(key, now) for key in returned}
        asked = frozenset(tried)
        # What another scheduler's turn it was is waited for on; but not for ever, it may be out of the outbox by now.
        elsewhere = {
            key: since
            for key, since in self._since.items()
            if key not in asked and now - since < 2 * self._patience_seconds
        }
        self._since = elsewhere | still
        return frozenset(key for key, since in still.items() if now - since >= self._patience_seconds)
