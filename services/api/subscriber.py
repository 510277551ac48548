"""One client of the change feed: what waits for it, and an end when it does not take it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

from services.api.core.feed import Cursor
from services.api.frames import Frame

MOST_WAITING = 2000
"""Frames; a client that lets more wait is cut off, and goes on from its cursor when it comes again."""


class Subscriber:
    """Filled by the feed, emptied by its client's answer."""

    def __init__(self, team: UUID | None, leave: Callable[[Subscriber], None]) -> None:
        self.team = team
        self._leave = leave
        self._waiting: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._begun: Cursor | None = None
        self._reached: Cursor | None = None

    @property
    def begun(self) -> Cursor:
        """Where the feed stood when it was subscribed to."""
        assert self._begun is not None
        return self._begun

    @property
    def ended(self) -> bool:
        """Whether nothing more comes: it was too slow, or the feed has stopped."""
        return self._ended

    def begin(self, cursor: Cursor) -> None:
        """The feed stands here; what was given before is of no interest."""
        self._waiting.clear()
        self._begun = self._reached = cursor

    def give(self, frames: Sequence[Frame], reached: Cursor) -> None:
        """Let these wait for the client."""
        if self._ended:
            return
        if len(self._waiting) + len(frames) > MOST_WAITING:
            self.end()
            return
        self._waiting.extend(frames)
        self._reached = reached
        if frames:
            self._news.set()

    def end(self) -> None:
        """Nothing more: what waits is dropped, and told again to whoever goes on from the last cursor."""
        self._ended = True
        self._waiting.clear()
        self._news.set()

    async def take(self, within: float) -> tuple[list[Frame], Cursor]:
        """What waits, and where the client stands when it has it; at most so many seconds are waited for something."""
        if not self._waiting and not self._ended:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), within)
        # Without a pause between the two: what is given later is not counted as taken.
        frames = list(self._waiting)
        self._waiting.clear()
        assert self._reached is not None
        return frames, self._reached

    def close(self) -> None:
        """The client is gone."""
        self._ended = True
        self._leave(self)
