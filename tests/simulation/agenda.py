"""The fake clock: what is to happen, and when. Nothing waits; the clock goes on to the next thing."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any


class Agenda:
    """Database time. Of two things of the same instant the one that was put down first happens first."""

    def __init__(self, begin: datetime) -> None:
        self.now = begin
        self._number = 0
        self._heap: list[tuple[datetime, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, when: datetime, do: Callable[..., object], *arguments: Any) -> None:
        """Put something down; what should have happened before happens now."""
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, do, arguments))

    def after(self, seconds: float, do: Callable[..., object], *arguments: Any) -> None:
        """Put something down for so many seconds from now."""
        self._number += 1
        heapq.heappush(self._heap, (self.now + timedelta(seconds=seconds), self._number, do, arguments))

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._heap:
            return False
        self.now, _, do, arguments = heapq.heappop(self._heap)
        do(*arguments)
        return True

    def run_until(self, when: datetime) -> None:
        """Let everything up to `when` happen, and what follows from it."""
        heap = self._heap
        while heap and heap[0][0] <= when:
            self.now, _, do, arguments = heapq.heappop(heap)
            do(*arguments)
        self.now = max(self.now, when)

    def run_for(self, seconds: float) -> None:
        """The same, so many seconds from now."""
        self.run_until(self.now + timedelta(seconds=seconds))
