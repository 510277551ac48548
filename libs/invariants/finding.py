"""What the checks of an invariant found. The names of checks are a contract: metrics, alerts and programs use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

MOST_EXAMPLES = 10


class CheckName(StrEnum):
    """Every check, by the invariant that it belongs to; docs/operations.md says of each what it means."""

    MISSING_FIRES = "missing_fires"
    EXTRA_FIRES = "extra_fires"
    MISNAMED_FIRES = "misnamed_fires"
    FACTS_WITHOUT_EXECUTION = "facts_without_execution"

    TWO_AT_ONCE = "two_at_once"
    OVERLAPPING_RUNS = "overlapping_runs"
    OVERLAPPING_WAITS = "overlapping_waits"

    CONTRADICTORY_ENDINGS = "contradictory_endings"
    REPEATED_IDS = "repeated_ids"

    WRONG_COUNTS = "wrong_counts"
    OVER_LIMIT = "over_limit"

    STUCK_EXECUTIONS = "stuck_executions"
    HELD_FOR_NOTHING = "held_for_nothing"
    UNSENT_MESSAGES = "unsent_messages"
    LOCKS_OF_FINISHED_RUNS = "locks_of_finished_runs"
    EXPIRED_LOCKS = "expired_locks"
    OVERDUE_FIRES = "overdue_fires"
    FIRING_HELD = "firing_held"


_N = CheckName

CHECKS: dict[str, tuple[CheckName, ...]] = {
    "I1": (_N.MISSING_FIRES, _N.EXTRA_FIRES, _N.MISNAMED_FIRES, _N.FACTS_WITHOUT_EXECUTION),
    "I2": (_N.TWO_AT_ONCE, _N.OVERLAPPING_RUNS, _N.OVERLAPPING_WAITS),
    "I4": (_N.CONTRADICTORY_ENDINGS, _N.REPEATED_IDS),
    "I5": (_N.WRONG_COUNTS, _N.OVER_LIMIT),
    "I7": (
        _N.STUCK_EXECUTIONS,
        _N.HELD_FOR_NOTHING,
        _N.UNSENT_MESSAGES,
        _N.LOCKS_OF_FINISHED_RUNS,
        _N.EXPIRED_LOCKS,
        _N.OVERDUE_FIRES,
        _N.FIRING_HELD,
    ),
}
"""The checks of each invariant, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Check:
    """How many rows one check found, and up to ten of them in words."""

    name: CheckName
    rows: int = 0
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it found nothing."""
        return self.rows == 0


@dataclass(frozen=True, slots=True)
class Finding:
    """The checks of an invariant. `note`: what was looked at, and the grace."""

    invariant: str
    checks: tuple[Check, ...]
    note: str

    @property
    def rows(self) -> int:
        """How many rows break it."""
        return sum(check.rows for check in self.checks)

    @property
    def examples(self) -> tuple[str, ...]:
        """Up to ten of them in words, the first of each check before the second of any."""
        by_turn = sorted(chain(*(enumerate(check.examples) for check in self.checks)), key=lambda one: one[0])
        return tuple(example for _, example in by_turn[:MOST_EXAMPLES])

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return all(check.ok for check in self.checks)


def check(name: CheckName, sentences: Sequence[str], rows: int | None = None) -> Check:
    """One check of its sentences; `rows` if there are more than were put into words."""
    return Check(name, len(sentences) if rows is None else rows, tuple(sentences[:MOST_EXAMPLES]))
