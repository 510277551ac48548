"""What the scanner shows and says, from what it found: pure.

A ledger with more deployments than one look takes is gone through in rounds. A check of such pages shows the most that
the last whole round or this one has found, so that it is well again only when a whole round found nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from libs.invariants import Check, CheckName, Look
from libs.invariants.finding import MOST_EXAMPLES

PAGED = frozenset({CheckName.MISSING_FIRES, CheckName.EXTRA_FIRES, CheckName.MISNAMED_FIRES, CheckName.WRONG_COUNTS})
"""The checks that look at a page of the deployments; the others look at all that is open or recent."""

_BUSY_SECONDS = 15.0
_OFTEN_SECONDS = 30.0

Checks = Mapping[CheckName, Check]


@dataclass(frozen=True, slots=True)
class Round:
    """What the pages gave: of the last whole round, and of this one so far."""

    whole: Checks = field(default_factory=dict)
    so_far: Checks = field(default_factory=dict)

    def add(self, look: Look) -> tuple[Round, Checks]:
        """The round after a look, and every check as it is to be shown."""
        found = {check.name: check for finding in look.findings for check in finding.checks}
        so_far = {name: _joined(self.so_far.get(name), found[name]) for name in PAGED}
        if look.after is None:
            return Round(whole=so_far), found | so_far
        shown = {name: max(self.whole.get(name, check), check, key=_rows) for name, check in so_far.items()}
        return Round(self.whole, so_far), found | shown


class News(StrEnum):
    """What is worth a line of the log."""

    FOUND = "found"
    CHANGED = "changed"
    GONE = "gone"


def news(before: Checks, after: Checks) -> Iterator[tuple[News, Check]]:
    """What `after` says that `before` did not."""
    for name, check in after.items():
        known = before.get(name, Check(name))
        if check == known:
            continue
        if check.ok:
            yield News.GONE, check
        else:
            yield (News.FOUND if known.ok else News.CHANGED), check


def pause(second: float, every: float) -> float:
    """Seconds until the next look, at second `second` of the minute.

    Most fires are decided in the first seconds of a minute; a look that is not due more often leaves them alone.
    """
    at = (second + every) % 60
    return every + _BUSY_SECONDS - at if every >= _OFTEN_SECONDS and at < _BUSY_SECONDS else every


def _joined(before: Check | None, check: Check) -> Check:
    if before is None:
        return check
    return Check(check.name, before.rows + check.rows, (before.examples + check.examples)[:MOST_EXAMPLES])


def _rows(check: Check) -> int:
    return check.rows
