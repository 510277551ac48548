"""Messages to bytes and back, with the AMQP properties that every message carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError

from libs.contracts.commands import Cancel, Clock, Command, Fence, Lock, Notice, Resend, Sync, Unlock, Void
from libs.contracts.errors import ContractError
from libs.contracts.events import (
    CommandApplied,
    DeviceChanged,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    HostEvent,
    HostHeartbeat,
    HostHello,
    LogPiece,
)
from libs.contracts.message import Message
from libs.contracts.topology import COMMANDS, LOGS, RESULTS, TRIGGERS, log_key, result_key
from libs.contracts.trigger import Trigger

CONTENT_TYPE = "application/json"

MESSAGES: Mapping[str, type[Message]] = {
    model.type: model
    for model in (
        Trigger,
        Fence,
        Cancel,
        Void,
        Lock,
        Unlock,
        Sync,
        Clock,
        Resend,
        Notice,
        ExecutionQueued,
        ExecutionSkipped,
        ExecutionStarted,
        ExecutionFinished,
        HostHello,
        HostHeartbeat,
        DeviceChanged,
        CommandApplied,
        LogPiece,
    )
}
"""Every message by its `type`. A released type is for ever: golden files keep it readable."""

MAX_BODY_BYTES = 1 << 20
"""Larger bodies are refused unread."""

_LARGEST: Mapping[str, int] = {Sync.type: 8 << 20}
"""A sync names every deployment of its host: some 300 bytes each."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it goes to the broker: where to, its properties, its body."""

    exchange: str
    routing_key: str
    message_id: str
    type: str
    timestamp: datetime
    body: bytes
    app_id: str
    correlation_id: str | None = None
    content_type: str = CONTENT_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


def address(message: Message) -> tuple[str, str]:
    """The exchange and the routing key of a message."""
    match message:
        case Trigger():
            return TRIGGERS, message.host
        case Command():
            return COMMANDS, message.host
        case HostEvent():
            return RESULTS, result_key(message.host, message.event)
        case LogPiece():
            return LOGS, log_key(message.host, message.execution_id)
        case _:
            raise TypeError(f"{type(message).__name__} is a part of messages, not one")


def encode(message: Message, *, message_id: str, at: datetime, app_id: str, traceparent: str | None = None) -> Envelope:
    """The envelope of `message`. `message_id` must be the same whenever the same message is sent again."""
    exchange, routing_key = address(message)
    execution: UUID | None = getattr(message, "execution_id", None)
    return Envelope(
        exchange=exchange,
        routing_key=routing_key,
        message_id=message_id,
        type=message.type,
        timestamp=at,
        body=message.model_dump_json().encode(),
        app_id=app_id,
        correlation_id=str(execution) if execution else None,
        headers={"traceparent": traceparent} if traceparent else {},
    )


def decode(type_name: str | None, body: bytes) -> Message:
    """The message in `body`. Unknown fields are ignored.

    Raises `ContractError`, with a sentence, for an unknown type, for what is not JSON and for what does not fit.
    """
    most = _LARGEST.get(type_name or "", MAX_BODY_BYTES)
    if len(body) > most:
        raise ContractError(f"a body of {len(body)} bytes is over the limit of {most}")
    model = MESSAGES.get(type_name or "")
    if model is None:
        raise ContractError(f"unknown message type {(type_name or '')[:80]!r}")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        sentence = f"{type_name}: {where}: {first['msg']}{more}"
        # It quotes what it was given, and is shown on terminals and in logs.
        raise ContractError(sentence if sentence.isprintable() else ascii(sentence)[1:-1]) from None
