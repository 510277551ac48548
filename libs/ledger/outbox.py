"""Putting messages into the outbox, in the caller's transaction. Only schedulers take them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts import Command, Message, Trigger, address
from libs.ledger import channels
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for a host. Its id is the trigger's execution or the command's own, however often it is sent."""

    team_id: UUID
    message: Trigger | Command


def _identity(message: Trigger | Command) -> UUID:
    return message.execution_id if isinstance(message, Trigger) else message.command_id


def _execution(message: Message) -> UUID | None:
    return message.execution_id if isinstance(message, Trigger) else None


def _not_after(message: Message) -> datetime | None:
    return message.not_after if isinstance(message, Trigger) else None


async def enclose(connection: Connection, parcels: Sequence[Parcel]) -> None:
    """Write the parcels and wake a scheduler. A parcel that is there already is left alone."""
    if not parcels:
        return
    messages = [parcel.message for parcel in parcels]
    await connection.execute(
        STATEMENTS.insert_outbox,
        [_identity(message) for message in messages],
        [parcel.team_id for parcel in parcels],
        [message.type for message in messages],
        [address(message)[0] for message in messages],
        [message.host for message in messages],
        [_execution(message) for message in messages],
        [message.model_dump_json() for message in messages],
        [_not_after(message) for message in messages],
    )
    await connection.execute(STATEMENTS.notify, channels.OUTBOX, "")
