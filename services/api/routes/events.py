"""`/events`: what changes, told as it happens, to whoever may see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from libs.chassis.logs import get_logger
from services.api.auth import Authenticator, Given, Ticket, Viewer
from services.api.core import feed as cursors
from services.api.core.feed import Cursor
from services.api.feed import Feed
from services.api.frames import opening, reset_frame, sign_of_life
from services.api.revocations import Revocations
from services.api.routes.workroom import workroom
from services.api.subscriber import Subscriber

log = get_logger(__name__)

router = APIRouter(tags=["events"])

KEEP_ALIVE_SECONDS = 15.0
"""A comment comes so often, and so often is the token looked at again."""

SEND_SECONDS = 20.0
"""A client that takes nothing for so long is cut off."""

GRACE_SECONDS = 1.0
"""How long the last of an answer may take when the worker stops."""

_EXAMPLE = """id: MS43NDguNTM
event: execution
data: {"id": "0199f3a2-1c00-8000-8000-000000000001", "status": "running", "deployment_name": "health_143052"}

: here
id: MS43NTAuNTU

"""


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"example": _EXAMPLE}}, "description": "Until the client leaves"}
    },
)
async def stream(
    request: Request,
    caller: Viewer,
    given: Given,
    cursor: Annotated[str | None, Query(description="Where to go on; the header is stronger")] = None,
    last_event_id: Annotated[str | None, Header(description="Where to go on: the last id that was received")] = None,
) -> Response:
    """Server-sent events of the team: `execution`, `deployment`, `host`, `device`, each as its GET answers it.

    One event for each changed resource, its latest state. `reset`: the cursor is too old, or the ledger was restored;
    load everything anew. With an id nothing is lost and nothing comes twice, whichever worker answers.
    """
    feed = workroom(request).feed
    subscriber = await feed.subscribe(caller.only_team)
    authenticator: Authenticator = request.app.state.authenticator
    ticket = Ticket(authenticator, given, caller)
    return _Stream(feed, subscriber, ticket, workroom(request).revocations, last_event_id or cursor)


class _Stream(EventSourceResponse):
    """The answer; its subscription ends with it, however that happens."""

    def __init__(
        self, feed: Feed, subscriber: Subscriber, ticket: Ticket, revocations: Revocations, since: str | None
    ) -> None:
        # The pings are ours: they carry a cursor, which must not be ahead of what was sent.
        self._stopping = anyio.Event()
        super().__init__(
            _events(feed, subscriber, ticket, since),
            ping=0,
            sep="\n",
            send_timeout=SEND_SECONDS,
            shutdown_event=self._stopping,
            shutdown_grace_period=GRACE_SECONDS,
        )
        self._subscriber = subscriber
        self._until_revoked = revocations.on_end_of(ticket.caller.ends_with, subscriber.end)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ending = asyncio.create_task(self._end_when_told())
        try:
            with self._until_revoked:
                await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.warning("A client of the events took nothing and is cut off", within_seconds=SEND_SECONDS)
        finally:
            ending.cancel()
            self._subscriber.close()

    async def _end_when_told(self) -> None:
        """A worker that stops ends its answers whole, so that its clients go on with another at once."""
        await self._stopping.wait()
        self._subscriber.end()


async def _events(feed: Feed, subscriber: Subscriber, ticket: Ticket, since: str | None) -> AsyncIterator[bytes]:
    # Again: it may have been taken back before the stream could hear of that.
    if not await ticket.is_valid():
        return
    at = subscriber.begun
    if since is not None:
        decoded = cursors.decode(since)
        if decoded is None:
            yield reset_frame(at).content
        else:
            at = decoded
            async for frames in feed.catch_up(decoded, subscriber.begun, subscriber.team):
                for frame in frames:
                    at = frame.cursor
                    yield frame.content
            at = _further(at, subscriber.begun)
    yield opening(at)
    checked = time.monotonic()
    while not subscriber.ended:
        frames, reached = await subscriber.take(within=max(checked + KEEP_ALIVE_SECONDS - time.monotonic(), 0))
        for frame in frames:
            # A client that came from a worker which was ahead of this one knows some of it.
            if frame.cursor.epoch != at.epoch or frame.cursor.position > at.position:
                yield frame.content
        at = _further(at, reached)
        if time.monotonic() - checked >= KEEP_ALIVE_SECONDS:
            if not await ticket.is_valid():
                return
            checked = time.monotonic()
            yield sign_of_life(at)


def _further(one: Cursor, other: Cursor) -> Cursor:
    if one.epoch != other.epoch:
        return other
    return max(one, other, key=lambda cursor: cursor.position)
