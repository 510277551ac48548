"""From a delivery to a message that may be believed."""

from __future__ import annotations

from libs.chassis.amqp.message import Incoming
from libs.contracts import ContractError, HostEvent, Message, decode
from services.api.core.broker_access import host_of


class ImpostorError(ContractError):
    """A host speaks in the name of another."""

    def __init__(self, sender: str, named: str, kind: str) -> None:
        super().__init__(f"{sender} speaks in the name of {named} ({kind})")
        self.sender = sender
        self.named = named


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
    sender = host_of(delivery.user)
    if sender is not None and sender != message.host:
        raise ImpostorError(sender, message.host, delivery.type)
    if host != message.host:
        raise ContractError(f"{message.host} is named in a message that came as {delivery.routing_key}")
    if event != message.event:
        raise ContractError(f"{delivery.type} came as {delivery.routing_key}")
    return message
