"""Server-sent events of the change feed, as bytes: made once, however many clients get them."""

from __future__ import annotations

from dataclasses import dataclass

from sse_starlette import ServerSentEvent

from services.api.core.feed import Change, Cursor
from services.api.resources import Resources

RETRY_MILLISECONDS = 1000
SEPARATOR = "\n"
RESET = "reset"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event, and where its reader stands afterwards."""

    cursor: Cursor
    content: bytes


def frame_of(change: Change, epoch: int, resources: Resources) -> Frame | None:
    """The event of a change; None if its resource is gone."""
    cursor = Cursor(epoch, change.position)
    if change.kind == RESET:
        return reset_frame(cursor)
    resource = resources.get((change.kind, change.resource))
    if resource is None:
        return None
    return Frame(cursor, _encoded(resource.model_dump_json(), change.kind, cursor))


def reset_frame(cursor: Cursor) -> Frame:
    """Load everything anew; what comes after it is told again."""
    return Frame(cursor, _encoded("{}", RESET, cursor))


def opening(cursor: Cursor) -> bytes:
    """No event, but a place to go on from, and how soon to come again when cut off."""
    return ServerSentEvent(id=cursor.encode(), retry=RETRY_MILLISECONDS, sep=SEPARATOR).encode()


def sign_of_life(cursor: Cursor) -> bytes:
    """A comment, and how far a client that was told nothing has come all the same."""
    return ServerSentEvent(comment="here", id=cursor.encode(), sep=SEPARATOR).encode()


def _encoded(data: str, event: str, cursor: Cursor) -> bytes:
    return ServerSentEvent(data, event=event, id=cursor.encode(), sep=SEPARATOR).encode()
