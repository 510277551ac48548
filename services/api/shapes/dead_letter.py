"""Dead letters: messages that nobody could use, and what became of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict
from pydantic.config import JsonDict

from libs.contracts import Instant
from services.api.shapes.base import Label, Shape
from services.api.shapes.filters import Paged

State = Literal["open", "requeued", "closed", "dropped"]
"""`closed`: somebody has dealt with it. `dropped`: nothing is to be done about it."""

_LETTER: JsonDict = {
    "id": "0199f3a2-1c00-7000-8000-000000000001",
    "at": "2026-11-23T10:30:00Z",
    "queue": "host.lab-1.triggers",
    "reason": "expired",
    "type": "trigger.v1",
    "host_name": "lab-1",
    "team_id": "0199f3a2-1c00-7000-8000-00000000000a",
    "execution_id": "0199f3a2-1c00-8000-8000-000000000002",
    "state": "open",
    "body_size": 512,
    "requeued_at": None,
    "requeued_by": None,
    "requeued_as": None,
    "settled_at": None,
    "settled_by": None,
    "settled_reason": None,
}


class DeadLetterFilters(Paged):
    """`type` is the message's, such as trigger.v1."""

    state: list[State] | None = None
    host_name: Label | None = None
    type: Label | None = None


class DeadLetter(Shape):
    """A message that died: where, why, and what a person did about it. `settled_…`: who closed or dropped it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LETTER]})

    id: UUID
    at: Instant
    queue: str | None
    reason: str
    type: str | None
    host_name: str | None
    team_id: UUID | None
    execution_id: UUID | None
    state: State
    body_size: int
    requeued_at: Instant | None
    requeued_by: str | None
    requeued_as: UUID | None
    settled_at: Instant | None
    settled_by: str | None
    settled_reason: str | None


class WholeDeadLetter(DeadLetter):
    """With what it carried. `body` is text, or base64 of bytes that are no text; at most 64 KiB of it are kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**_LETTER, "headers": {"x-death": []}, "body": "{…}", "body_encoding": "utf-8", "truncated": False}
            ]
        }
    )

    headers: dict[str, Any]
    body: str
    body_encoding: Literal["utf-8", "base64"]
    truncated: bool

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> WholeDeadLetter:
        """The shape of a row of `dead_letters`."""
        content: bytes = record["body"] or b""
        try:
            body, encoding = content.decode(), "utf-8"
        except UnicodeDecodeError:
            body, encoding = b64encode(content).decode(), "base64"
        return cls.model_validate(
            {
                **record,
                "body": body,
                "body_encoding": encoding,
                "truncated": len(content) < record["body_size"],
            }
        )
