"""What every message has in common: frozen, unknown fields ignored, times aware and in UTC on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer, StringConstraints

HOST_NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

HostName = Annotated[str, StringConstraints(pattern=HOST_NAME_PATTERN)]
"""A host's name; it is part of routing keys and queue names, so it has no dot."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


def rfc3339(at: datetime) -> str:
    """`at` in UTC with `Z`, to the microsecond: the one way in which times are written."""
    text = at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return text.removesuffix(".000000") + "Z"


Instant = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""An aware instant, written as RFC 3339 in UTC."""


class Message(BaseModel):
    """The base of all messages. A reader ignores fields that it does not know: a newer writer may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    """The AMQP property `type`, with its version: a breaking change is a new type."""
