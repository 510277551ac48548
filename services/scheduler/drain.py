"""The outbox: what was decided goes to the broker, and is marked when the broker has confirmed it.

Hosts are shared out by advisory locks, so a host's messages leave in the order in which they were decided, whichever
scheduler sends them. What is committed and not confirmed is sent again: the message has the same id and the same
bytes, and whoever had it already does nothing.

A message that the broker returns has no queue: it is tried again for a while (`returned.py`), then it goes to the dead
letters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.dead import HEADER_EXCHANGE, HEADER_QUEUE, HEADER_REASON
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts.topology import DEAD
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Connection, Pool
from services.scheduler import metrics
from services.scheduler.returned import Returned
from services.scheduler.statements import STATEMENTS

log = get_logger(__name__)

APP_ID = "rigbeat-scheduler"
LONGEST_SLEEP_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.02
LONGEST_RETRY_SECONDS = 0.5

UNDELIVERABLE = "undeliverable"
"""Why a returned message is a dead letter: the broker had no queue for it when it was first sent, so nobody has it."""
RETURNED = "returned"
"""The same of one that was sent before: its host may have it, and is asked."""


class Drain(Part):
    """Takes messages out of the outbox and hands them to the broker."""

    name = "outbox"

    def __init__(
        self,
        pool: Pool,
        url: str,
        *,
        batch: int,
        confirm_seconds: float,
        undeliverable_seconds: float,
        wake: asyncio.Event,
    ) -> None:
        super().__init__()
        self._returned: Returned[int] = Returned(undeliverable_seconds)
        self._pool = pool
        self._url = url
        self._batch = batch
        self._confirm_seconds = confirm_seconds
        self._wake = wake
        self._ready = False

    async def run(self) -> None:
        """Drain until told to stop, over as many connections as it takes."""
        await forever(
            self._url,
            APP_ID,
            self._session,
            self.stopping,
            on_up=lambda: setattr(self, "ready", True),
            on_down=lambda _: setattr(self, "ready", False),
        )

    async def _session(self, connection: AbstractConnection) -> None:
        publisher = Publisher(connection)
        await publisher.open()
        retries = delays(FIRST_RETRY_SECONDS, 2, LONGEST_RETRY_SECONDS)
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                taken, done = await self._drain(publisher)
            except (*CONTENDED, *DATABASE_AWAY) as error:
                pause = next(retries)
                log.warning("The outbox waits", error=str(error), again_in_seconds=pause)
            else:
                if taken and taken == done:
                    retries = delays(FIRST_RETRY_SECONDS, 2, LONGEST_RETRY_SECONDS)
                    continue
                # Nothing to do; or another scheduler has the shards, or the broker refused: a little later again.
                left = taken or await self._pool.fetchval(STATEMENTS.any_unpublished)
                pause = next(retries) if left else LONGEST_SLEEP_SECONDS
            await self._sleep(pause)

    async def _drain(self, publisher: Publisher) -> tuple[int, int]:
        """One batch; how many messages it held and how many of them are out of the outbox now."""
        async with self._pool.acquire() as connection, connection.transaction():
            shards = [record["shard"] for record in await connection.fetch(STATEMENTS.shards)]
            if not shards:
                return 0, 0
            records = await connection.fetch(STATEMENTS.unpublished, shards, self._batch)
            if not records:
                return 0, 0
            began = time.monotonic()
            receipts = await publisher.publish([_message(record) for record in records], within=self._confirm_seconds)
            metrics.PUBLISH_SECONDS.observe(time.monotonic() - began)
            for receipt in Receipt:
                metrics.PUBLISHED.labels(receipt).inc(receipts.count(receipt))
            sent = [r["id"] for r, receipt in zip(records, receipts, strict=True) if receipt is Receipt.CONFIRMED]
            returned = [r for r, receipt in zip(records, receipts, strict=True) if receipt is Receipt.RETURNED]
            hopeless = self._returned.given_up(
                [record["id"] for record in records], [record["id"] for record in returned], time.monotonic()
            )
            given_up = [record for record in returned if record["id"] in hopeless]
            sent += await self._bury(publisher, given_up)
            # What came back was never delivered, so it is as if it had not been tried.
            untried = frozenset(record["id"] for record in returned) - hopeless
            await self._mark(connection, records, frozenset(sent), untried)
        log.info("Published", messages=len(sent))
        return len(records), len(sent)

    async def _mark(
        self,
        connection: Connection,
        records: Sequence[asyncpg.Record],
        out: frozenset[int],
        untried: frozenset[int],
    ) -> None:
        """Write down which of `records` are out of the outbox, and that the others but the `untried` were tried."""
        executions = [record["execution_id"] for record in records if record["id"] in out and record["execution_id"]]
        await connection.execute(STATEMENTS.lock_executions, executions)
        await connection.execute(STATEMENTS.mark_published, sorted(out))
        if len(out) < len(records):
            await connection.execute(
                STATEMENTS.mark_attempt, [record["id"] for record in records if record["id"] not in out | untried]
            )
            log.warning("The broker did not take everything", messages=len(records), taken=len(out))

    async def _bury(self, publisher: Publisher, returned: Sequence[asyncpg.Record]) -> list[int]:
        """Unroutable messages go to the dead letters, never nowhere; the ids of those that are safe there."""
        if not returned:
            return []
        receipts = await publisher.publish([_dead(record) for record in returned], within=self._confirm_seconds)
        return [r["id"] for r, receipt in zip(returned, receipts, strict=True) if receipt is Receipt.CONFIRMED]

    async def _sleep(self, seconds: float) -> None:
        waiting = [asyncio.create_task(self._wake.wait()), asyncio.create_task(self.stopping.wait())]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


def _message(record: asyncpg.Record) -> Outgoing:
    return Outgoing(
        exchange=record["exchange"],
        routing_key=record["host_name"],
        body=record["body"].encode(),
        message_id=str(record["message_id"]),
        type=record["type"],
        correlation_id=str(record["execution_id"]) if record["execution_id"] else None,
        app_id=APP_ID,
        # For people who look at the broker; nothing is decided by it.
        timestamp=datetime.now(UTC),  # noqa: TID251  # the shell's clock
        expiration_seconds=record["seconds_left"],
    )


def _dead(record: asyncpg.Record) -> Outgoing:
    message = _message(record)
    return Outgoing(
        exchange=DEAD,
        routing_key=message.routing_key,
        body=message.body,
        message_id=message.message_id,
        type=message.type,
        correlation_id=message.correlation_id,
        app_id=message.app_id,
        timestamp=message.timestamp,
        headers={
            HEADER_REASON: RETURNED if record["attempts"] else UNDELIVERABLE,
            HEADER_QUEUE: "",
            HEADER_EXCHANGE: message.exchange,
        },
    )
