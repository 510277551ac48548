"""Answers that stay open end when their token is taken back, or the session that they belong to ends.

A notification that was lost costs seconds: whoever keeps an answer open also looks at the token now and then, because
it may expire.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID


class Revocations:
    """Who wants to hear of which token or session; told by the worker's listener."""

    def __init__(self) -> None:
        self._told: defaultdict[UUID, list[Callable[[], None]]] = defaultdict(list)

    @contextmanager
    def on_end_of(self, ids: Sequence[UUID], tell: Callable[[], None]) -> Iterator[None]:
        """Call `tell` when one of these tokens and sessions is taken back, within the block."""
        for each in ids:
            self._told[each].append(tell)
        try:
            yield
        finally:
            for each in ids:
                self._told[each].remove(tell)
                if not self._told[each]:
                    del self._told[each]

    def heard(self, identity: str) -> None:
        """A token or a session was taken back."""
        for tell in list(self._told.get(UUID(identity), ())):
            tell()
