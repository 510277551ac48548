"""A host that runs whatever it is sent, without a broker: triggers from the outbox in, facts into the ingest out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from libs.chassis.amqp.message import Incoming
from libs.contracts import ExecutionFinished, ExecutionStarted, ExecutionStatus, HostEvent, Trigger, decode
from libs.ledger.pool import Pool, create_pool
from services.api.ingest.results import Told, take_in
from tests.support.ledger import LedgerDatabase

_JOURNAL = UUID(int=0xF)
_DELIVERY = Incoming(
    body=b"",
    message_id="",
    type="",
    correlation_id=None,
    routing_key="",
    exchange="",
    headers={},
    redelivered=False,
    delivery_tag=0,
    timestamp=None,
)


class FaithfulHost:
    """What it says is folded by the ingest's own transaction, under the ingest's own role."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._seen = 0
        self._sequence = count(1)

    async def take(self) -> list[Trigger]:
        """The triggers that were enclosed since the last look, in their order."""
        records = await self._pool.fetch(
            "SELECT id, body FROM outbox WHERE type = 'trigger.v1' AND id > $1 ORDER BY id", self._seen
        )
        triggers = []
        for record in records:
            self._seen = record["id"]
            trigger = decode(Trigger.type, record["body"].encode())
            assert isinstance(trigger, Trigger)
            triggers.append(trigger)
        return triggers

    async def say(self, *events: HostEvent) -> None:
        """Fold these in one transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            unusable, _ = await take_in(connection, [Told(_DELIVERY, event) for event in events])
        assert unusable == []

    def started(self, trigger: Trigger, at: datetime) -> ExecutionStarted:
        """Its script started at `at`."""
        return ExecutionStarted(**self._of(trigger), at=at, admitted_at=at, started_at=at)

    def finished(
        self,
        trigger: Trigger,
        at: datetime,
        status: ExecutionStatus = ExecutionStatus.COMPLETED,
        *,
        seconds: float = 30,
    ) -> ExecutionFinished:
        """It started at `at` and ended `seconds` later."""
        end = at + timedelta(seconds=seconds)
        return ExecutionFinished(
            **self._of(trigger), at=end, admitted_at=at, started_at=at, completed_at=end, status=status
        )

    def _of(self, trigger: Trigger) -> dict[str, Any]:
        names = ("host", "execution_id", "deployment_id", "ledger_epoch", "version", "kind", "scheduled_at")
        told = {name: getattr(trigger, name) for name in (*names, "device_id", "script_name")}
        return told | {
            "journal_id": _JOURNAL,
            "runner_id": _JOURNAL,
            "sequence": next(self._sequence),
            "received_at": trigger.scheduled_at,
        }


@asynccontextmanager
async def a_faithful_host(database: LedgerDatabase) -> AsyncIterator[FaithfulHost]:
    """For every host of this ledger."""
    pool = await create_pool(database.ingest_url, application="test host", most=2)
    try:
        yield FaithfulHost(pool)
    finally:
        pool.terminate()
