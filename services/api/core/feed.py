"""Where a reader of the change feed stands, and what a stretch of it comes to. Pure."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

_CURSOR = re.compile(r"(\d{1,9})\.(\d{1,20})\.(\d{1,19})")
_MOST_XID = 2**64 - 1
_MOST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """All rows up to this one are read: by transaction, then by id, the order in which `ledger.feed_after` has them."""

    xid: int
    id: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the feed of one epoch of the ledger."""

    epoch: int
    position: Position

    def encode(self) -> str:
        """As clients keep it: opaque."""
        text = f"{self.epoch}.{self.position.xid}.{self.position.id}"
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str) -> Cursor | None:
    """The cursor that `encode` wrote; None for any other text."""
    try:
        content = urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    matched = _CURSOR.fullmatch(content)
    if matched is None:
        return None
    epoch, xid, number = map(int, matched.groups())
    if xid > _MOST_XID or number > _MOST_ID:
        return None
    return Cursor(epoch, Position(xid, number))


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the feed; `team` None: it is for all."""

    position: Position
    team: UUID | None
    kind: str
    resource: str


def whole_transactions(changes: Sequence[Change], limit: int) -> Sequence[Change]:
    """Without the last transaction, if the `limit` may have cut it in two and there is another before it."""
    if len(changes) < limit or changes[0].position.xid == changes[-1].position.xid:
        return changes
    last = changes[-1].position.xid
    return [change for change in changes if change.position.xid != last]


def seen_by(changes: Iterable[Change], team: UUID | None) -> list[Change]:
    """What a team may know of; None sees all (an operator)."""
    return [change for change in changes if team is None or change.team is None or change.team == team]


def latest(changes: Iterable[Change]) -> list[Change]:
    """Each changed resource once, at the place of its last change: who was told of it has missed nothing before."""
    last: dict[tuple[str, str], Change] = {}
    for change in changes:
        last.pop((change.kind, change.resource), None)
        last[change.kind, change.resource] = change
    return list(last.values())
