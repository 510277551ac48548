"""The broker: queues in order, one consumer each, unacknowledged deliveries that come again, expiry at the head only.

Like RabbitMQ's: what a consumer that goes away had not acknowledged goes back to the queue's head, in its order; a
message whose time is over leaves only when it is at the head, for the dead letters; a publish for which there is no
queue comes back. Everything may come twice, and a wipe takes all data and for a while the queues themselves.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol
from uuid import UUID

from libs.contracts import Message, Trigger
from tests.simulation.room import Room

RESULTS = "results.persist"
DEAD = "dead.letters"


class Receipt(Enum):
    """What the publisher hears."""

    CONFIRMED = auto()
    RETURNED = auto()
    UNKNOWN = auto()


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
    """One queue and its active consumer."""

    def __init__(self, room: Room, name: str, bury: Callable[[Letter], None]) -> None:
        self._room = room
        self._bury = bury
        self.name = name
        self.ready: deque[Letter] = deque()
        self.unacked: list[Letter] = []
        self.consumer: Consumer | None = None
        self._alarm: datetime | None = None

    def put(self, letter: Letter) -> None:
        """At the end."""
        if letter.seconds is not None:
            letter = replace(letter, expires_at=self._room.now + timedelta(seconds=letter.seconds))
        self.ready.append(letter)
        self.push()

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
            self.push()

    def push(self) -> None:
        """Bury what is over at the head, and hand on what the consumer may have."""
        now = self._room.now
        out: list[Letter] = []
        room_left = 0 if self.consumer is None else self.consumer.prefetch - len(self.unacked)
        while self.ready:
            head = self.ready[0]
            if head.expires_at is not None and head.expires_at <= now:
                self._bury(replace(self.ready.popleft(), seconds=None, expires_at=None, death=("expired", self.name)))
            elif room_left > 0:
                room_left -= 1
                out.append(self.ready.popleft())
            else:
                break
        if out:
            assert self.consumer is not None
            self.unacked.extend(out)
            self._room.history.traffic["delivered"] += len(out)
            self._room.agenda.after(self._room.lag(), self.consumer.receive, out)
        self._watch_head(now)

    def _watch_head(self, now: datetime) -> None:
        if not self.ready:
            return
        ends = self.ready[0].expires_at
        if ends is not None and (self._alarm is None or self._alarm <= now or ends < self._alarm):
            self._alarm = ends
            self._room.agenda.at(ends, self.push)


class Broker:
    """All queues. `lost` is told of every message that a wipe takes."""

    def __init__(self, room: Room, lost: Callable[[Letter], None]) -> None:
        self._room = room
        self.lost = lost
        self.queues: dict[str, Queue] = {}
        self._undeclared_until = room.now
        self._on_their_way: Counter[UUID] = Counter()

    def has_copy(self, queue: str, execution: UUID) -> bool:
        """Whether a trigger of this execution lies in the queue, or is still in the network."""
        lying = self.queues[queue]
        letters = (letter.message for letter in (*lying.ready, *lying.unacked))
        return self._on_their_way[execution] > 0 or any(
            isinstance(message, Trigger) and message.execution_id == execution for message in letters
        )

    def _leaves(self, letter: Letter, copies: int) -> None:
        if isinstance(letter.message, Trigger):
            self._on_their_way[letter.message.execution_id] += copies

    def declare(self, name: str) -> Queue:
        """The queue of this name."""
        if name not in self.queues:
            self.queues[name] = Queue(self._room, name, self._bury)
        return self.queues[name]

    def _bury(self, letter: Letter) -> None:
        self.queues[DEAD].put(letter)

    def publish(self, name: str, letters: Sequence[Letter], heard: Callable[[list[Receipt]], None]) -> None:
        """Send a batch over one connection, in order; `heard` is told later what became of each.

        A publisher that hears nothing of some cannot tell whether they arrived.
        """
        room, trouble = self._room, self._room.trouble
        arriving = len(letters)
        is_told = True
        if room.happens(trouble.unsent):
            arriving = room.dice.randrange(len(letters))
            room.fault("messages lost", f"{len(letters) - arriving} for {name}")
            is_told = False
        elif room.happens(trouble.confirm_lost):
            room.fault("confirm lost", name)
            is_told = False
        for letter in letters[:arriving]:
            self._leaves(letter, 1)
        room.agenda.after(room.lag(), self._arrive, name, list(letters), arriving, is_told, heard)

    def _arrive(
        self, name: str, letters: list[Letter], arriving: int, is_told: bool, heard: Callable[[list[Receipt]], None]
    ) -> None:
        room = self._room
        queue = self.queues[name]
        receipts = [Receipt.UNKNOWN] * len(letters)
        for letter in letters[:arriving]:
            self._leaves(letter, -1)
        if room.now < self._undeclared_until:
            room.history.traffic["returned"] += arriving
            receipts[:arriving] = [Receipt.RETURNED] * arriving
        else:
            room.history.traffic["published"] += arriving
            for letter in letters[:arriving]:
                queue.put(letter)
                self._repeat(queue, letter)
            receipts[:arriving] = [Receipt.CONFIRMED] * arriving
        if is_told:
            room.agenda.after(room.lag(), heard, receipts)
        else:
            room.agenda.after(5.0, heard, [Receipt.UNKNOWN] * len(letters))

    def _repeat(self, queue: Queue, letter: Letter) -> None:
        room = self._room
        if room.happens(room.trouble.duplicate):
            copies = room.dice.randint(1, 5)
            room.history.traffic["duplicated"] += copies
            room.fault("message duplicated", f"{copies} times in {queue.name}")
            self._leaves(letter, copies)
            for _ in range(copies):
                late = room.dice.choice((0.0, 0.01, 1.0, 40.0, 400.0)) * room.dice.random()
                room.agenda.after(late, self._again, queue, letter)
        if room.trouble.frozen and isinstance(letter.message, Trigger) and room.happens(room.trouble.frozen):
            days = room.dice.uniform(0.1, 10)
            room.fault("message frozen", f"for {days:.1f} days, {queue.name}")
            self._leaves(letter, 1)
            room.agenda.after(days * 86_400, self._again, queue, letter)

    def _again(self, queue: Queue, letter: Letter) -> None:
        self._leaves(letter, -1)
        if self._room.now >= self._undeclared_until:
            queue.put(replace(letter))

    def wipe(self, without_queues_for: float) -> None:
        """All data is gone, and for so many seconds the queues; the caller breaks the connections."""
        self._undeclared_until = self._room.now + timedelta(seconds=without_queues_for)
        for queue in self.queues.values():
            for letter in (*queue.unacked, *queue.ready):
                self.lost(letter)
            queue.unacked = []
            queue.ready.clear()

    @property
    def is_declared(self) -> bool:
        """Whether the queues are there."""
        return self._room.now >= self._undeclared_until
