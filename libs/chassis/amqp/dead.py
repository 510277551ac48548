"""Where messages go that nobody can use: published to a dead letter exchange and confirmed, then acknowledged."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pamqp import encode

from libs.chassis import metrics
from libs.chassis.amqp.message import Incoming, Outgoing, Receipt
from libs.chassis.amqp.publisher import Publishes
from libs.chassis.errors import Unconfirmed

HEADER_REASON = "x-dead-reason"
HEADER_QUEUE = "x-dead-queue"
HEADER_EXCHANGE = "x-dead-exchange"
HEADER_USER = "x-dead-user"

# The class of error and its sentence; a longer one is cut, because a frame holds all headers together.
REASON_CHARACTERS = 1000

# Headers and properties share one frame, of 128 KiB with RabbitMQ's own settings.
MOST_HEADER_BYTES = 96 * 1024

_BURIED = metrics.counter("amqp_dead_lettered", "Messages that this process sent to the dead letters", ["queue"])


@dataclass(frozen=True, slots=True)
class Death:
    """Why and where a message died; `reason` is our sentence, or the broker's word (`expired`, `delivery_limit` …).

    `user`: who sent it, if the broker stood for that and we buried it.
    """

    queue: str
    reason: str
    exchange: str
    user: str = ""


def death(headers: Mapping[str, Any]) -> Death | None:
    """What the headers of a dead letter tell, ours before the broker's; None if neither left any."""
    if HEADER_REASON in headers:
        return Death(
            queue=str(headers.get(HEADER_QUEUE, "")),
            reason=str(headers[HEADER_REASON]),
            exchange=str(headers.get(HEADER_EXCHANGE, "")),
            user=str(headers.get(HEADER_USER, "")),
        )
    if "x-first-death-reason" in headers:
        return Death(
            queue=str(headers.get("x-first-death-queue", "")),
            reason=str(headers["x-first-death-reason"]),
            exchange=str(headers.get("x-first-death-exchange", "")),
        )
    return None


class DeadLetters:
    """The way to one dead letter exchange. `clock` gives the time for messages that bear none (UTC, aware)."""

    def __init__(self, publisher: Publishes, exchange: str, *, clock: Callable[[], datetime]) -> None:
        self._publisher = publisher
        self._exchange = exchange
        self._clock = clock

    async def bury(self, message: Incoming, *, queue: str, reason: str) -> None:
        """Publish `message` with its own key, properties and headers, and what says why and where it died.

        Headers that cannot be sent again as they came (a number that we may not write, a frame full) are left behind.
        `Unconfirmed` if the broker did not take it: then it must not be acknowledged.
        """
        headers = {
            **(message.headers if _can_be_sent(message.headers) else {}),
            HEADER_REASON: reason[:REASON_CHARACTERS],
            HEADER_QUEUE: queue,
            HEADER_EXCHANGE: message.exchange,
            HEADER_USER: message.user,
        }
        outgoing = Outgoing(
            exchange=self._exchange,
            routing_key=message.routing_key,
            body=message.body,
            # Returns are told apart by it, so a message that came without one gets one.
            message_id=message.message_id or f"{queue}:{message.delivery_tag}"[-255:],
            type=message.type,
            correlation_id=message.correlation_id,
            app_id=message.app_id,
            timestamp=message.timestamp or self._clock(),
            headers=headers,
            content_type=message.content_type,
        )
        (receipt,) = await self._publisher.publish([outgoing])
        if receipt is not Receipt.CONFIRMED:
            raise Unconfirmed(f"dead letter {message.message_id!r} from {queue}: {receipt.value} by {self._exchange}")
        _BURIED.labels(queue).inc()


def _can_be_sent(headers: Mapping[str, Any]) -> bool:
    """Whether pamqp writes what it read; it reads more than it writes."""
    try:
        return len(encode.field_table(dict(headers))) <= MOST_HEADER_BYTES
    except (TypeError, ValueError, ArithmeticError, struct.error):
        return False
