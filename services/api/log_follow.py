"""A log while it grows: stored parts and live pieces in one, until the execution has ended and all of it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from sse_starlette import ServerSentEvent

from libs.chassis.logs import get_logger
from libs.contracts import ENDED, ExecutionStatus
from libs.ledger.pool import DATABASE_AWAY
from services.api.auth import Ticket
from services.api.core.live_log import LiveLog, Text
from services.api.database import Database
from services.api.live_logs import Inbox, LiveLogs
from services.api.log_store import LogStore
from services.api.object_store import STORE_AWAY
from services.api.problems import ProblemError
from services.api.revocations import Revocations
from services.api.shapes.base import Shape
from services.api.shapes.log import Output, OutputEnd
from services.api.statements import SQL
from services.api.transactions import transaction

LOOK_EVERY_SECONDS = 0.5
LOOK_IN_THE_STORE_EVERY_SECONDS = 2.0
"""While live pieces come without a gap: for one that was lost and had no successor."""
READ_BYTES = 1 << 20
LOOK_AT_THE_TOKEN_EVERY_SECONDS = 15.0
"""It may expire; that it is taken back, is heard at once."""

log = get_logger(__name__)


class Follower:
    """One person's view of a log, from a byte on."""

    def __init__(self, database: Database, store: LogStore, ticket: Ticket, execution_id: UUID, offset: int) -> None:
        self._database = database
        self._store = store
        self._ticket = ticket
        self._is_revoked = False
        self._execution_id = execution_id
        self._log = LiveLog(offset)
        self._kept = 0
        self._looked_at = float("-inf")
        self._deaf_at = float("-inf")

    def end(self) -> None:
        """The right to see it is taken back."""
        self._is_revoked = True

    async def events(self, live: LiveLogs, host: str, revocations: Revocations) -> AsyncIterator[ServerSentEvent]:
        """Events `output`, and one `end`.

        It ends early, without `end`, when the token or session is taken back or expires.
        An execution that ended ten minutes ago is not waited for any more, whatever its host still owes. When the
        database or the store goes away, it stops without `end`: the client comes back, and goes on where it was.
        """
        try:
            with revocations.on_end_of(self._ticket.caller.ends_with, self.end):
                async for event in self._events(live, host):
                    yield event
        except (ProblemError, *STORE_AWAY, *DATABASE_AWAY) as error:
            log.warning("A followed log breaks off", execution_id=str(self._execution_id), reason=str(error))

    async def _events(self, live: LiveLogs, host: str) -> AsyncIterator[ServerSentEvent]:
        loop = asyncio.get_running_loop()
        # Before the first look into the store: what is not there yet is then surely heard, or a gap.
        with live.follow(host, self._execution_id) as inbox:
            asked_at = checked_at = float("-inf")
            while not self._is_revoked:
                if loop.time() - checked_at >= LOOK_AT_THE_TOKEN_EVERY_SECONDS:
                    checked_at = loop.time()
                    if not await self._ticket.is_valid():
                        return
                if loop.time() - asked_at >= LOOK_EVERY_SECONDS:
                    asked_at = loop.time()
                    # Asked before the store: what was stored until the end is then surely found.
                    async with transaction(self._database, self._ticket.caller) as connection:
                        progress = await connection.fetchrow(SQL.log_progress, self._execution_id)
                    if progress is None:  # dropped by retention while we looked
                        return
                    has_ended = ExecutionStatus(progress["status"]) in ENDED
                    if has_ended or self._must_look(inbox, asked_at):
                        self._looked_at = asked_at
                        async for event in self._stored():
                            yield event
                    # Not before the store has it: who then reads the log must find all of it.
                    if has_ended and (self._kept >= progress["log_bytes"] or progress["long_ago"]):
                        for text in self._log.take(final=True):
                            yield _output(text)
                        size = self._log.reach
                        yield _event("end", OutputEnd(status=progress["status"], size=size), size)
                        return
                for offset, content in await inbox.wait(max(asked_at + LOOK_EVERY_SECONDS - loop.time(), 0.0)):
                    self._log.add(offset, content)
                for text in self._log.take(final=False):
                    yield _output(text)

    def _must_look(self, inbox: Inbox, now: float) -> bool:
        if not inbox.is_listening:
            self._deaf_at = now
        # Just after we began to listen, what was said before is still on its way to the store.
        is_sure = not self._log.is_short and now - self._deaf_at > LOOK_IN_THE_STORE_EVERY_SECONDS
        return now - self._looked_at >= (LOOK_IN_THE_STORE_EVERY_SECONDS if is_sure else LOOK_EVERY_SECONDS)

    async def _stored(self) -> AsyncIterator[ServerSentEvent]:
        """What the store has and we do not, piece by piece, so that a big log is never in the memory."""
        parts = await self._store.parts(self._execution_id)
        self._kept = parts[-1].end if parts else 0
        while (at := self._log.reach) < self._kept:
            end = min(at + READ_BYTES, self._kept)
            self._log.add(at, b"".join([piece async for piece in self._store.read(self._execution_id, parts, at, end)]))
            for text in self._log.take(final=False):
                yield _output(text)


def _output(text: Text) -> ServerSentEvent:
    return _event("output", Output(offset=text.start, text=text.text), text.end)


def _event(kind: str, body: Shape, offset: int) -> ServerSentEvent:
    return ServerSentEvent(body.model_dump_json(), event=kind, id=str(offset), sep="\n")
