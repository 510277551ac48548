"""The consumer of `results.persist`: batches of what hosts say, one transaction each, then the acknowledgement.

What is committed and not acknowledged is delivered again and changes nothing. A message that cannot be used goes to the
dead letters, confirmed, and blocks nobody behind it; a batch that fails is halved until the one bad message is found.
What is not the message's fault (the database is away, full, or not what we expect) pauses consuming and loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.dead import DeadLetters
from libs.chassis.amqp.message import Incoming
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.errors import ChassisError, Transient
from libs.chassis.logs import get_logger
from libs.contracts import AnyFact, CommandApplied, ContractError, DeviceChanged, HostEvent, HostHello
from libs.contracts.events import ExecutionFact
from libs.contracts.topology import DEAD, RESULTS_PERSIST
from libs.ledger import decisions
from libs.ledger.pool import Connection, Pool
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.core.broker_access import host_of
from services.api.ingest import answers, devices, hosts, metrics
from services.api.ingest.deployments import settle
from services.api.ingest.executions import Changes
from services.api.ingest.fold import fold
from services.api.ingest.reading import ImpostorError, read_event
from services.api.ingest.session import QueueConsumer, Watch
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

STUCK_SECONDS = 5.0
_OF_THE_DATA = ("21", "22", "23")
"""The classes of SQLSTATE that blame the values: cardinality, data exception, integrity. The others blame the server,
the schema or the grants, and trying later helps (PostgreSQL's documentation, appendix A).
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A message of a host, and the delivery that it came in."""

    delivery: Incoming
    event: HostEvent


@dataclass(frozen=True, slots=True)
class Unusable:
    """A delivery for the dead letters: `why` is a word for the metrics and, after a colon, a sentence."""

    delivery: Incoming
    why: str


class Results(QueueConsumer):
    """Folds what hosts say."""

    name = "results"
    queue = RESULTS_PERSIST
    max_batch = 500
    prefetch = 2 * max_batch  # the next batch arrives while this one is folded

    def __init__(self, pool: Pool, url: str, watch: Watch | None = None) -> None:
        super().__init__(pool, url, watch)
        self._publisher: Publisher | None = None
        self._begun_at: float | None = None

    async def opened(self, connection: AbstractConnection) -> None:
        """For what goes to the dead letters."""
        self._publisher = Publisher(connection)

    async def closed(self) -> None:
        """As the connection."""
        if self._publisher is not None:
            await self._publisher.close()

    def is_stuck(self) -> bool:
        """Whether the same batch has been in hand for seconds: the database or the dead letters do not take it."""
        return self._begun_at is not None and time.monotonic() - self._begun_at > STUCK_SECONDS

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Fold what can be folded; the rest is buried, confirmed."""
        if self._begun_at is None:  # else it is the same batch again
            self._begun_at = time.monotonic()
        await self._handle(batch)
        self._begun_at = None

    async def _handle(self, batch: Sequence[Incoming]) -> None:
        told, unusable = _read(batch)
        unusable += await self._take_in(told)
        # After the commit: while the database is away a batch is tried again, and would bury its poison each time.
        for one in unusable:
            assert self._publisher is not None
            # The clock is for messages that came without a time; nothing is decided by it.
            dead = DeadLetters(self._publisher, DEAD, clock=lambda: datetime.now(UTC))  # noqa: TID251
            log.warning("A message of a host goes to the dead letters", id=one.delivery.message_id, reason=one.why)
            await dead.bury(one.delivery, queue=RESULTS_PERSIST, reason=one.why)
            metrics.BURIED.labels(one.why.partition(":")[0]).inc()

    async def _take_in(self, told: Sequence[Told]) -> list[Unusable]:
        if not told:
            return []
        try:
            return await self._in_one_transaction(told)
        except Exception as error:  # supervisor: whatever one message does, the others must get through
            if not blames_message(error):
                raise Transient(f"{type(error).__name__}: {error}") from error
            if len(told) == 1:
                log.exception("A message cannot be taken into the ledger", id=told[0].delivery.message_id)
                return [Unusable(told[0].delivery, f"{type(error).__name__}: {error}")]
            log.warning("A batch failed and is halved", messages=len(told), error=str(error))
        middle = len(told) // 2
        return await self._take_in(told[:middle]) + await self._take_in(told[middle:])

    async def _in_one_transaction(self, told: Sequence[Told]) -> list[Unusable]:
        began = time.monotonic()
        async with self._pool.acquire() as connection, connection.transaction():
            unusable, changes = await take_in(connection, told)
        metrics.FOLD_SECONDS.observe(time.monotonic() - began)
        metrics.BATCHES.inc()
        for one in told:
            metrics.EVENTS.labels(one.event.event).inc()
        metrics.observe_starts(changes.started)
        metrics.FORGOTTEN.inc(changes.forgotten)
        return unusable


async def take_in(connection: Connection, told: Sequence[Told]) -> tuple[list[Unusable], Changes]:
    """Write all of it, in the caller's transaction, and say what cannot be used, and what has changed.

    Facts first: they may only be about what was before a hello of the same batch, since a host with a new journal says
    nothing more until its hello is answered. Deployments last: others wait for their locks.
    """
    clock = await connection.fetchrow(LEDGER.ledger_now)
    assert clock is not None
    now, epoch = clock["now"], clock["ledger_epoch"]
    changes = Changes()
    told, unvouched = await _vouched_for(connection, told)
    facts: list[tuple[Told, AnyFact]] = []
    hellos: list[tuple[Told, HostHello]] = []
    applied: list[CommandApplied] = []
    changed: dict[tuple[str, str], DeviceChanged] = {}
    for one in told:
        match one.event:
            case ExecutionFact() as fact:
                facts.append((one, fact))  # type: ignore[arg-type]  # the four kinds of facts are all there are
            case HostHello() as hello:
                hellos.append((one, hello))
            case CommandApplied() as answer:
                applied.append(answer)
            case DeviceChanged() as change:
                changed[change.host, change.device.device_id] = change
    refused = await fold(connection, [fact for _, fact in facts], changes)
    unusable = unvouched + [Unusable(facts[index][0].delivery, why) for index, why in refused.items()]
    # All of them at once and by name, as the presence locks them: after a broker's restart every host says hello.
    spoken_of = {hello.host for _, hello in hellos} | {host for host, _ in changed}
    await connection.fetch(STATEMENTS.lock_hosts, sorted(spoken_of))
    for one, hello in hellos:
        why = await hosts.greet(connection, hello, changes, now=now, ledger_epoch=epoch)
        if why is not None:
            unusable.append(Unusable(one.delivery, why))
    await answers.apply(connection, applied, changes, now)
    await devices.update(connection, {key: change.device for key, change in changed.items()}, changes)
    await settle(connection, changes)
    await decisions.note(connection, list(changes.feed))
    return unusable, changes


async def _vouched_for(connection: Connection, told: Sequence[Told]) -> tuple[Sequence[Told], list[Unusable]]:
    """Apart: what came without the broker's word for a host that has a user of its own."""
    nameless = {one.event.host for one in told if host_of(one.delivery.user) is None}
    if not nameless:
        return told, []
    records = await connection.fetch(STATEMENTS.with_users, sorted(nameless))
    must = {record["host_name"] for record in records}
    good = [one for one in told if host_of(one.delivery.user) is not None or one.event.host not in must]
    bad = [
        Unusable(one.delivery, f"impostor: {one.delivery.user or 'nobody'} speaks in the name of {one.event.host}")
        for one in told
        if host_of(one.delivery.user) is None and one.event.host in must
    ]
    return good, bad


def blames_message(error: Exception) -> bool:
    """Whether the values are to blame, so that trying again later cannot help."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in _OF_THE_DATA
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | ChassisError):
        # asyncpg's own refusal to encode a value is both an InterfaceError and a ValueError.
        return isinstance(error, ValueError)
    return True


def _read(batch: Sequence[Incoming]) -> tuple[list[Told], list[Unusable]]:
    told: list[Told] = []
    unusable: list[Unusable] = []
    for delivery in batch:
        try:
            told.append(Told(delivery, read_event(delivery)))
        except ImpostorError as error:
            unusable.append(Unusable(delivery, f"impostor: {error}"))
        except ContractError as error:
            unusable.append(Unusable(delivery, f"ContractError: {error}"))
    return told, unusable
