"""The broker: a publish for which there is no queue comes back, everything may come twice, and a wipe takes all data.

After a wipe the exchanges are declared first and the queues one after the other; until then a publish is not answered
(RabbitMQ closes the channel of who names an exchange that is not there), and then it is returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto
from uuid import UUID

from libs.contracts import Trigger
from tests.simulation.queues import Letter, Queue
from tests.simulation.room import Room

RESULTS = "results.persist"
DEAD = "dead.letters"
CONFIRM_SECONDS = 5.0
"""How long a publisher waits for its confirms (`confirm_seconds`)."""

Addressed = tuple[Queue, Letter]
Heard = Callable[[list["Receipt"]], None]


class Receipt(Enum):
    """What the publisher hears."""

    CONFIRMED = auto()
    RETURNED = auto()
    UNKNOWN = auto()


class Broker:
    """All queues. `lost` is told of every message that a wipe takes."""

    def __init__(self, room: Room, lost: Callable[[Letter], None]) -> None:
        self._room = room
        self._lost = lost
        self.queues: dict[str, Queue] = {}
        self._no_exchanges_until = room.now
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
        self.queues[DEAD].put([letter])

    def publish(self, batch: Sequence[Addressed], heard: Heard) -> None:
        """Send a batch over one connection, in order; `heard` is told later what became of each.

        A publisher that hears nothing of some cannot tell whether they arrived.
        """
        room, trouble = self._room, self._room.trouble
        arriving, is_told = len(batch), True
        if room.happens(trouble.unsent):
            arriving = room.dice.randrange(len(batch))
            room.fault("messages lost", f"{len(batch) - arriving} for {batch[0][0].name}")
            is_told = False
        elif room.happens(trouble.confirm_lost):
            room.fault("confirm lost", batch[0][0].name)
            is_told = False
        there, back = room.lag(), room.lag()
        for _, letter in batch[:arriving]:
            self._leaves(letter, 1)
        if is_told and there + back < CONFIRM_SECONDS:
            room.agenda.after(there, self._arrive, batch, heard, back)
        else:
            room.agenda.after(there, self._arrive, batch[:arriving], None, back)
            room.agenda.after(CONFIRM_SECONDS, heard, [Receipt.UNKNOWN] * len(batch))

    def _arrive(self, batch: Sequence[Addressed], heard: Heard | None, back: float) -> None:
        room = self._room
        receipts = []
        has_exchanges = room.now >= self._no_exchanges_until
        taken: dict[Queue, list[Letter]] = {}
        for queue, letter in batch:
            self._leaves(letter, -1)
            if has_exchanges and queue.is_there:
                receipts.append(Receipt.CONFIRMED)
                taken.setdefault(queue, []).append(letter)
            else:
                receipts.append(Receipt.RETURNED if has_exchanges else Receipt.UNKNOWN)
        for queue, letters in taken.items():
            room.history.traffic["published"] += len(letters)
            queue.put(letters)
            for letter in letters:
                self._repeat(queue, letter)
        if not all(receipt is Receipt.CONFIRMED for receipt in receipts):
            room.history.traffic["returned"] += receipts.count(Receipt.RETURNED)
        if heard is not None:
            room.agenda.after(back, heard, receipts)

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
            days = room.dice.uniform(0.1, room.trouble.frozen_days)
            room.fault("message frozen", f"for {days:.1f} days, {queue.name}")
            self._leaves(letter, 1)
            room.agenda.after(days * 86_400, self._again, queue, letter)

    def _again(self, queue: Queue, letter: Letter) -> None:
        self._leaves(letter, -1)
        if queue.is_there:
            queue.put([replace(letter)])

    def wipe(self, seconds: float) -> None:
        """All data is gone, and the exchanges, and the queues: all are there again after so many seconds. The caller
        breaks the connections.
        """
        room = self._room
        first = seconds * room.dice.random()
        self._no_exchanges_until = room.now + timedelta(seconds=first)
        for queue in self.queues.values():
            # The dead letters' queue is declared first, as `libs/contracts/topology.py` has it.
            after = first if queue.name == DEAD else room.dice.uniform(first, seconds)
            self.delete(queue, after)

    def delete(self, queue: Queue, seconds: float) -> None:
        """This one is gone with its data until the API declares everything anew."""
        for letter in queue.take_away(self._room.now + timedelta(seconds=seconds)):
            self._lost(letter)
