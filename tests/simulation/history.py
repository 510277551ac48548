"""What happened in a world, in order: for counting, for telling the story of one execution, and for the digest."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

SHORTLY = timedelta(seconds=60)


class History:
    """Lines of (when, what, about whom, detail). Two runs of one seed have the same lines, byte for byte."""

    def __init__(self) -> None:
        self.lines: list[tuple[datetime, str, UUID | None, str]] = []
        self.faults: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        """The larger faults, by the names that `Trouble.hours_between` has for them."""
        self.traffic: Counter[str] = Counter()

    def note(self, at: datetime, what: str, about: UUID | None = None, detail: str = "") -> None:
        """One line."""
        self.lines.append((at, what, about, detail))

    def fault(self, at: datetime, kind: str, detail: str = "") -> None:
        """One line about something that was done to the world."""
        self.faults[kind] += 1
        self.lines.append((at, f"FAULT {kind}", None, detail))

    def story(self, about: UUID, most: int = 40) -> list[str]:
        """The last lines about an execution or a deployment, in words, with the faults shortly before each."""
        told: dict[int, None] = {}
        for number in [number for number, line in enumerate(self.lines) if line[2] == about][-most:]:
            at = self.lines[number][0]
            for earlier in range(max(number - 12, 0), number):
                when, what, _, _ = self.lines[earlier]
                if what.startswith("FAULT") and at - when <= SHORTLY:
                    told[earlier] = None
            told[number] = None
        lines = (self.lines[number] for number in sorted(told))
        return [f"{at:%Y-%m-%d %H:%M:%S.%f} {what} {detail}".rstrip() for at, what, _, detail in lines]

    def digest(self) -> str:
        """Of every line."""
        seen = sha256()
        for at, what, about, detail in self.lines:
            seen.update(f"{at.timestamp():.6f}|{what}|{about}|{detail}\n".encode())
        return seen.hexdigest()
