"""Waiting for a host to say that it applied a command.

The ingest writes `applied_at` and notifies with the command's id; each web worker listens with one connection. A
notification that was lost costs the full wait, never a wrong answer: at its end the rows themselves are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from libs.ledger import channels
from libs.ledger.listener import Listener
from services.api.revocations import Revocations

WAIT_SECONDS = 2.0


class Acknowledgements(Listener):
    """Listens for `rigbeat_applied`, and for `rigbeat_revoked` on behalf of the answers that stay open."""

    def __init__(self, url: str, revocations: Revocations) -> None:
        super().__init__(
            url,
            {channels.APPLIED: self._applied, channels.REVOKED: revocations.heard},
            application="rigbeat-api-listen",
        )
        self._expected: dict[str, asyncio.Event] = {}

    @contextmanager
    def expected(self, command_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set when the command is applied; enter before the command is committed."""
        applied = self._expected[str(command_id)] = asyncio.Event()
        try:
            yield applied
        finally:
            del self._expected[str(command_id)]

    def _applied(self, command_id: str) -> None:
        if command_id in self._expected:
            self._expected[command_id].set()
