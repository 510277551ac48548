"""From a delivery to a message that may be believed."""

from __future__ import annotations

from libs.chassis.amqp.message import Incoming
from libs.contracts import ContractError, HostEvent, Message, decode


def read(delivery: Incoming) -> Message:
    """The message, with what PostgreSQL cannot store (NUL in text) replaced by U+FFFD: a fact is not refused for that.

    Raises `ContractError`.
    """
    return decode(delivery.type, delivery.body.replace(b"\\u0000", b"\\ufffd"))


def read_event(delivery: Incoming) -> HostEvent:
    """What a host says, under its own name: the routing key is what the broker can hold a host to.

    Raises `ContractError`, also for a message that does not belong here.
    """
    message = read(delivery)
    if not isinstance(message, HostEvent):
        raise ContractError(f"{delivery.type} is not what a host says")
    host, _, event = delivery.routing_key.partition(".")
    if host != message.host:
        raise ContractError(f"{message.host} is named in a message that came as {delivery.routing_key}")
    if event != message.event:
        raise ContractError(f"{delivery.type} came as {delivery.routing_key}")
    return message
