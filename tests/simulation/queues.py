"""One queue of the broker: in order, one active consumer, and what is over leaves only when it is at the head."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from libs.contracts import Message
from tests.simulation.room import Room


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A message in a queue. `seconds` is its time to live; `death` why and where it became a dead letter."""

    message: Message
    seconds: float | None = None
    expires_at: datetime | None = None
    death: tuple[str, str] | None = None


class Consumer(Protocol):
    """Who takes messages. Another object for each connection."""

    prefetch: int

    def receive(self, letters: Sequence[Letter]) -> None:
        """They came; they are to be acknowledged."""


class Queue:
    """What a consumer that goes away had not acknowledged goes back to the head, in its order.

    Between `absent_since` and `absent_until` there is no such queue.
    """

    def __init__(self, room: Room, name: str, bury: Callable[[Letter], None]) -> None:
        self._room = room
        self._bury = bury
        self.name = name
        self.ready: deque[Letter] = deque()
        self.unacked: list[Letter] = []
        self.consumer: Consumer | None = None
        self.absent_since = self.absent_until = room.now
        self._alarm: datetime | None = None

    @property
    def is_there(self) -> bool:
        """Whether it is declared."""
        return self._room.now >= self.absent_until

    def put(self, letters: Iterable[Letter]) -> None:
        """At the end."""
        for letter in letters:
            if letter.seconds is not None:
                ends = self._room.now + timedelta(seconds=letter.seconds)
                self.ready.append(Letter(letter.message, letter.seconds, ends))
            else:
                self.ready.append(letter)
        self.push()

    def take_away(self, until: datetime) -> list[Letter]:
        """There is no such queue until then; what was in it."""
        now = self._room.now
        if now >= self.absent_until:
            self.absent_since = now
        self.absent_until = max(until, self.absent_until)
        gone = [*self.unacked, *self.ready]
        self.unacked = []
        self.ready.clear()
        return gone

    def consume(self, consumer: Consumer) -> None:
        """From now on it is given what comes. The former one, if any, lost its connection."""
        if self.consumer is not None:
            self.leave(self.consumer)
        self.consumer = consumer
        self.push()

    def leave(self, consumer: Consumer) -> None:
        """Its connection is gone: what it had not acknowledged comes again."""
        if self.consumer is consumer:
            self.consumer = None
            if self.unacked:
                self._room.history.traffic["redelivered"] += len(self.unacked)
                self.ready.extendleft(reversed(self.unacked))
                self.unacked = []
            self.push()

    def acked(self, consumer: Consumer, letters: Sequence[Letter]) -> None:
        """An acknowledgement arrived; of a connection that is gone it says nothing."""
        if self.consumer is consumer:
            gone = set(map(id, letters))
            self.unacked = [letter for letter in self.unacked if id(letter) not in gone]
            if self.ready:
                self.push()

    def push(self) -> None:
        """Bury what is over at the head, and hand on what the consumer may have."""
        now = self._room.now
        out: list[Letter] = []
        room_left = 0 if self.consumer is None else self.consumer.prefetch - len(self.unacked)
        while self.ready:
            head = self.ready[0]
            if head.expires_at is not None and head.expires_at <= now:
                self._bury(Letter(self.ready.popleft().message, death=("expired", self.name)))
            elif room_left > 0:
                room_left -= 1
                out.append(self.ready.popleft())
            else:
                self._watch(head, now)
                break
        if out:
            assert self.consumer is not None
            self.unacked.extend(out)
            self._room.history.traffic["delivered"] += len(out)
            self._room.agenda.after(self._room.lag(), self.consumer.receive, out)

    def _watch(self, head: Letter, now: datetime) -> None:
        ends = head.expires_at
        if ends is not None and (self._alarm is None or self._alarm <= now or ends < self._alarm):
            self._alarm = ends
            self._room.agenda.at(ends, self.push)
