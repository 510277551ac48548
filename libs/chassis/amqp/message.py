"""Messages as values: what we send, what became of it, what we are given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

# A short string of AMQP 0-9-1 has one byte for its length.
SHORT_STRING_BYTES = 255
# RabbitMQ closes the channel over a longer time to live: 2^32 - 1 ms, some 49 days.
MAX_EXPIRATION_MS = 2**32 - 1

_CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish.

    `timestamp` is aware, and the wire keeps whole seconds of it. `expiration_seconds` is the time to live in the
    queue: rounded up to a millisecond, below zero counts as zero, above 49 days as 49 days. `ValueError` for what the
    protocol cannot carry.
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    type: str
    correlation_id: str | None
    app_id: str
    timestamp: datetime
    headers: Mapping[str, object] = field(default_factory=dict)
    expiration_seconds: float | None = None
    persistent: bool = True
    mandatory: bool = True
    content_type: str = _CONTENT_TYPE

    def __post_init__(self) -> None:
        if not self.message_id:
            raise ValueError("a message needs a message_id: returns are told apart by it")
        if self.timestamp.tzinfo is None:
            raise ValueError("timestamp needs a time zone")
        for name in ("exchange", "routing_key", "message_id", "type", "correlation_id", "app_id", "content_type"):
            text = cast("str | None", getattr(self, name))
            if text is not None and len(text.encode()) > SHORT_STRING_BYTES:
                raise ValueError(f"{name} is longer than {SHORT_STRING_BYTES} bytes: {text[:40]!r}…")

    def properties(self, user: str | None = None) -> Basic.Properties:
        """As AMQP carries them: `expiration` is a decimal string of milliseconds; for `user` the broker vouches."""
        return Basic.Properties(
            content_type=self.content_type,
            headers=cast("dict[str, Any]", dict(self.headers)) or None,
            delivery_mode=2 if self.persistent else 1,
            correlation_id=self.correlation_id,
            expiration=None if self.expiration_seconds is None else _milliseconds(self.expiration_seconds),
            message_id=self.message_id,
            timestamp=self.timestamp,
            message_type=self.type,
            app_id=self.app_id,
            user_id=user,
        )


class Receipt(StrEnum):
    """What is known of a published message."""

    CONFIRMED = "confirmed"
    """Every queue that it belongs to has taken it."""
    RETURNED = "returned"
    """No queue wanted it (only with `mandatory`); it was never delivered."""
    NACKED = "nacked"
    """A queue refused it: full with `reject-publish`, or unable to write."""
    UNKNOWN = "unknown"
    """No answer in time, or the channel closed first: it may or may not have arrived. Publish it again."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivery. What a sender left out is an empty string or None; `headers` may hold any AMQP value (`x-death`)."""

    body: bytes
    message_id: str
    type: str
    correlation_id: str | None
    routing_key: str
    exchange: str
    headers: Mapping[str, Any]
    redelivered: bool
    delivery_tag: int
    timestamp: datetime | None
    app_id: str = ""
    content_type: str = ""
    user: str = ""
    """Of the connection that published it; the broker refuses a false one."""

    @classmethod
    def of(cls, delivered: DeliveredMessage) -> Incoming:
        """From aiormq's object, without the layer of aio-pika, which costs more than all the rest."""
        delivery = cast("Basic.Deliver", delivered.delivery)
        properties = delivered.header.properties
        return cls(
            body=delivered.body,
            message_id=properties.message_id or "",
            type=properties.message_type or "",
            correlation_id=properties.correlation_id,
            routing_key=delivery.routing_key or "",
            exchange=delivery.exchange or "",
            headers=properties.headers or {},
            redelivered=bool(delivery.redelivered),
            delivery_tag=cast("int", delivery.delivery_tag),
            timestamp=properties.timestamp,
            app_id=properties.app_id or "",
            content_type=properties.content_type or "",
            user=properties.user_id or "",
        )

    def header(self, name: str) -> str | None:
        """A header that is text, else None."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else None


def _milliseconds(seconds: float) -> str:
    return str(min(max(math.ceil(seconds * 1000), 0), MAX_EXPIRATION_MS))
