"""A log out of two sources: the stored parts, which are whole but late, and live pieces, which may be missing. Pure.

Both are bytes of one file, so where they overlap they are equal, and the byte's offset alone says what is new.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.api.core.text_pieces import whole_text

MOST_AHEAD_BYTES = 1 << 20
"""Live pieces behind a gap that are kept at most; the lowest go first, the store has them soonest."""
MOST_TEXT_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Text:
    """Text of the bytes [start, end). Invalid bytes are U+FFFD, a character is never cut."""

    start: int
    end: int
    text: str


class LiveLog:
    """Gives out each byte from `offset` on once and in order, whatever comes twice, late, or not at all."""

    def __init__(self, offset: int) -> None:
        self._given = offset
        self._known = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._ahead_bytes = 0

    @property
    def reach(self) -> int:
        """Up to this byte all is known."""
        return self._given + len(self._known)

    @property
    def is_short(self) -> bool:
        """Whether there is a gap before something that is known."""
        return bool(self._ahead)

    def add(self, start: int, content: bytes) -> None:
        """Bytes from `start` on, from either source."""
        if start <= self.reach:
            self._join(start, content)
            while self._ahead and (first := min(self._ahead)) <= self.reach:
                self._join(first, self._drop(first))
        elif len(content) > len(self._ahead.get(start, b"")):
            if start in self._ahead:
                self._drop(start)
            self._ahead[start] = content
            self._ahead_bytes += len(content)
            while self._ahead_bytes > MOST_AHEAD_BYTES:
                self._drop(min(self._ahead))

    def take(self, *, final: bool) -> list[Text]:
        """The text of what is known and was not given out. `final`: nothing follows, no character is completed."""
        texts: list[Text] = []
        while self._known:
            piece = bytes(self._known[:MOST_TEXT_BYTES])
            text, taken = whole_text(piece, final=final and len(piece) == len(self._known))
            if not taken:
                break
            texts.append(Text(self._given, self._given + taken, text))
            self._given += taken
            del self._known[:taken]
        return texts

    def _join(self, start: int, content: bytes) -> None:
        self._known += content[self.reach - start :]

    def _drop(self, start: int) -> bytes:
        content = self._ahead.pop(start)
        self._ahead_bytes -= len(content)
        return content
