"""What everything in a world shares: time, dice, trouble, and the book of what happened."""

from __future__ import annotations

import random
from datetime import datetime
from uuid import UUID

from tests.simulation.agenda import Agenda
from tests.simulation.history import History
from tests.simulation.trouble import Trouble


class Room:
    """One seed, one world: every draw comes from the same dice, in the order in which things happen."""

    def __init__(self, seed: int, begin: datetime, trouble: Trouble) -> None:
        self.seed = seed
        self.agenda = Agenda(begin)
        self.dice = random.Random(seed)
        self.trouble = trouble
        self.history = History()

    @property
    def now(self) -> datetime:
        """Database time."""
        return self.agenda.now

    def happens(self, probability: float) -> bool:
        """Whether it does this time."""
        return probability > 0.0 and self.dice.random() < probability

    def lag(self) -> float:
        """How long a step through the network or a process takes, in seconds."""
        drawn = self.dice.random()
        seconds = 0.001 + 0.05 * drawn * drawn
        return seconds + 60 * self.dice.random() if self.happens(self.trouble.slow) else seconds

    def new_id(self) -> UUID:
        """A random id."""
        return UUID(int=self.dice.getrandbits(128), version=4)

    def entropy(self) -> bytes:
        """For the ids of commands and manual runs."""
        return self.dice.getrandbits(80).to_bytes(10, "big")

    def note(self, what: str, about: UUID | None = None, detail: str = "") -> None:
        """One line of the book."""
        self.history.note(self.agenda.now, what, about, detail)

    def fault(self, kind: str, detail: str = "") -> None:
        """One line about something that was done to the world."""
        self.history.fault(self.agenda.now, kind, detail)
