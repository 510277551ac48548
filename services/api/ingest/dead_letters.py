"""The consumer of `dead.letters`: every dead letter is stored for people, and one that was a trigger ends its row.

A message that was returned the first time it was sent was never delivered: `undeliverable`, final. For every other
(expired, delivered too often, returned when it was sent again) the broker does not tell whether the host has it:
`missed`, presumed, and the host is asked (`void`). Only a trigger that died on its own way, in its host's queue or
returned to us, ends a row, and only its own: what a host sent itself is stored and ends nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from libs.chassis.amqp.dead import Death, death
from libs.chassis.amqp.message import Incoming
from libs.chassis.logs import get_logger
from libs.contracts import ContractError, Message, Reason, Trigger, Void, manual_id
from libs.contracts.message import rfc3339
from libs.contracts.topology import DEAD_LETTERS, TRIGGERS, triggers_queue
from libs.ledger import decisions
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Connection
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.core.broker_access import host_of
from services.api.core.projection import Row, never_delivered, presume_missed
from services.api.ingest import executions, metrics
from services.api.ingest.executions import Changes
from services.api.ingest.reading import read
from services.api.ingest.session import QueueConsumer
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

MAX_BODY_BYTES = 64 * 1024
NOT_THE_SENDERS = {"impostor", "wrong host", "wrong deployment", "unknown deployment"}
"""Why the ingest buries what a host says of another, or of what is not on it."""

UNKNOWN_DEATH = Death(queue="", reason="unknown", exchange="")

_SENTENCES = {
    "expired": "Missed: the host did not take it until its window had passed",
    "returned": "Missed: the broker lost it, and had no queue for the host when it was sent again",
    "delivery_limit": "Missed: it was delivered to the host too often without being taken",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it is stored; `message` only if it can be read."""

    id: UUID
    delivery: Incoming
    death: Death
    message: Message | None

    @property
    def host(self) -> str | None:
        """Whose it was, as far as the message says."""
        return getattr(self.message, "host", None)

    @property
    def execution_id(self) -> UUID | None:
        """What it was about, as far as the message says."""
        return getattr(self.message, "execution_id", None)

    @property
    def deployment_id(self) -> UUID | None:
        """Whose run it was about, as far as the message says."""
        return getattr(self.message, "deployment_id", None)

    @property
    def sender(self) -> str:
        """Who sent it, as far as the broker stands for that."""
        host = host_of(self.death.user)
        return f"host {host}" if host is not None else self.death.user or "somebody at the broker"

    @property
    def kind(self) -> str:
        """The reason without its sentence."""
        return self.death.reason.partition(":")[0]


class DeadLetterBox(QueueConsumer):
    """Stores dead letters and ends the rows that they belong to."""

    name = "dead-letters"
    queue = DEAD_LETTERS
    prefetch = max_batch = 100
    transient = (*DATABASE_AWAY, *CONTENDED)

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Store them all."""
        letters = [_letter(delivery) for delivery in batch]
        async with self._pool.acquire() as connection, connection.transaction():
            await store(connection, letters)
        for letter in letters:
            metrics.DEAD_LETTERS.labels(letter.kind).inc()
            log.warning(
                "A dead letter", reason=letter.death.reason, queue=letter.death.queue, type=letter.delivery.type
            )


async def store(connection: Connection, letters: Sequence[Letter]) -> None:
    """Store `letters` and end the rows of the triggers among them, in the caller's transaction."""
    clock = await connection.fetchrow(LEDGER.ledger_now)
    assert clock is not None
    now: datetime = clock["now"]
    changes = Changes()
    rows = await executions.lock(
        connection, {letter.message.execution_id for letter in letters if isinstance(letter.message, Trigger)}
    )
    ended = dict(rows)
    for letter in letters:
        if isinstance(letter.message, Trigger) and _is_of(rows.get(letter.message.execution_id), letter):
            identity = letter.message.execution_id
            ended[identity] = _end(ended[identity], letter, now)
    await executions.write(connection, [(row, ended[identity]) for identity, row in rows.items()], changes)
    presumed = [ended[key] for key, row in rows.items() if ended[key].presumed and not row.presumed]
    await enclose(connection, [_void(row, now) for row in presumed])
    await _insert(connection, letters, now)
    await decisions.note(connection, list(changes.feed))


def _is_of(row: Row | None, letter: Letter) -> bool:
    """Whether the letter is the trigger of this row, and died where only schedulers and the broker put triggers."""
    message = letter.message
    if row is None or not isinstance(message, Trigger):
        return False
    died_on_its_way = letter.death.queue == triggers_queue(message.host) or (
        letter.death.queue == "" and letter.death.exchange == TRIGGERS
    )
    return died_on_its_way and (row.host_name, row.deployment_id) == (message.host, message.deployment_id)


def _end(row: Row, letter: Letter, now: datetime) -> Row:
    if letter.kind == Reason.UNDELIVERABLE:
        return never_delivered(row, now)
    sentence = _SENTENCES.get(letter.kind, f"Missed: the host did not take it ({letter.death.reason})")
    return presume_missed(row, now, _storable(sentence))


def _void(row: Row, now: datetime) -> Parcel:
    command_id = manual_id(now, os.urandom(10))
    return Parcel(
        row.team_id,
        Void(command_id=command_id, host=row.host_name, execution_id=row.id, deployment_id=row.deployment_id),
    )


async def _insert(connection: Connection, letters: Sequence[Letter], now: datetime) -> None:
    teams = await _teams(connection, letters)
    stored = await connection.fetch(
        STATEMENTS.insert_dead_letters,
        now,
        [letter.id for letter in letters],
        [_storable(letter.death.queue) for letter in letters],
        [_storable(letter.death.reason) for letter in letters],
        [_storable(letter.delivery.type) for letter in letters],
        [letter.host for letter in letters],
        [teams.get((letter.deployment_id, letter.host)) or teams.get((None, letter.host)) for letter in letters],
        [letter.execution_id for letter in letters],
        [json.dumps(_jsonable(letter.delivery.headers)) for letter in letters],
        [letter.delivery.body[:MAX_BODY_BYTES] for letter in letters],
        [len(letter.delivery.body) for letter in letters],
    )
    await _write_down(connection, {record["id"]: record["team_id"] for record in stored}, letters, now)


async def _write_down(
    connection: Connection, stored: Mapping[UUID, UUID | None], letters: Sequence[Letter], now: datetime
) -> None:
    """For the audit: who spoke of what is not his. One row for all of a kind, so that a flood stays small."""
    refused: dict[tuple[str, str, UUID | None, str | None], list[Letter]] = {}
    for letter in letters:
        if letter.id in stored and letter.kind in NOT_THE_SENDERS:
            key = (letter.sender, letter.kind, stored[letter.id], letter.host)
            refused.setdefault(key, []).append(letter)
    for (sender, kind, team, host), those in refused.items():
        first = those[0]
        detail = {
            "kind": kind,
            "messages": len(those),
            "letter_id": str(first.id),
            "reason": _storable(first.death.reason),
            "type": _storable(first.delivery.type),
        }
        await connection.execute(LEDGER.audit, now, team, _storable(sender), "refuse", f"host/{host}", detail)


async def _teams(connection: Connection, letters: Sequence[Letter]) -> dict[tuple[UUID | None, str | None], UUID]:
    """Who may read what: the team of the deployment, where it is on that host, else `(None, host)` the host's owner."""
    hosts = {letter.host for letter in letters if letter.host is not None}
    owners = await connection.fetch(STATEMENTS.teams_of_hosts, list(hosts))
    about = {(one.deployment_id, one.host) for one in letters if one.deployment_id is not None and one.host is not None}
    users = await connection.fetch(
        STATEMENTS.teams_of_deployments, [deployment for deployment, _ in about], [host for _, host in about]
    )
    return {(None, record["name"]): record["team_id"] for record in owners} | {
        (record["id"], record["host_name"]): record["team_id"] for record in users
    }


def _letter(delivery: Incoming) -> Letter:
    died = death(delivery.headers) or UNKNOWN_DEATH
    try:
        message: Message | None = read(delivery)
    except ContractError:
        message = None
    # The same for every delivery of the same dead letter, so that the second is not stored.
    words = (died.queue, died.reason, delivery.message_id, delivery.routing_key)
    digest = sha256("\n".join(words).encode(errors="replace") + delivery.body).digest()
    return Letter(manual_id(_died_at(delivery), digest), delivery, died, message)


def _died_at(delivery: Incoming) -> datetime:
    """When it died, as the broker says, else when it was sent: what its id sorts by."""
    deaths = delivery.headers.get("x-death")
    at = deaths[0].get("time") if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else None
    epoch = datetime.fromtimestamp(0, UTC)
    return max((one for one in (at, delivery.timestamp) if isinstance(one, datetime)), default=epoch)


def _storable(text: str) -> str:
    """PostgreSQL has no NUL in text, and no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _jsonable(value: object) -> object:
    """An AMQP value as JSON; what has no form there as text."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return _storable(value)
        case datetime():
            return rfc3339(value)
        case bytes() | bytearray():
            return _storable(value.decode(errors="replace"))
        case Mapping():
            return {_storable(str(key)): _jsonable(one) for key, one in value.items()}
        case list() | tuple():
            return [_jsonable(one) for one in value]
        case _:
            return _storable(str(value))
