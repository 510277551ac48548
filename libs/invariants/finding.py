"""What a check found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """How many rows break an invariant, and up to ten of them in words. `note`: what was looked at, and the grace."""

    invariant: str
    rows: int
    examples: tuple[str, ...]
    note: str

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.rows == 0


def finding(invariant: str, found: Sequence[tuple[int, Sequence[str]]], note: str) -> Finding:
    """One finding of the answers of several statements: of each, how many rows, and examples of them."""
    examples = [example for _, some in found for example in some]
    return Finding(invariant, sum(rows for rows, _ in found), tuple(examples[:MOST_EXAMPLES]), note)
