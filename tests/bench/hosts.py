"""Simulated hosts: on the wire what runners are, behind it nothing.

Each has a connection of its own, takes one trigger at a time (prefetch 1), acknowledges it, and says `started` and
`finished` in confirmed batches, as a runner's outbound does; it beats every ten seconds. There is no journal and no
script: what is measured is the centre, not the host.

    python -m tests.bench.hosts --url amqp://… --prefix bench --number 20 --offset 12.5 --out FILE

On SIGTERM it writes when each trigger came, in database time, to FILE: lines of `execution id`, tab, Unix time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from aio_pika.abc import AbstractConnection

from libs.chassis import logs
from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.consumer import consume_each
from libs.chassis.amqp.dead import DeadLetters
from libs.chassis.amqp.message import Incoming, Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.lifecycle import Part, serve
from libs.contracts import (
    ExecutionFinished,
    ExecutionStarted,
    ExecutionStatus,
    HostEvent,
    HostHeartbeat,
    Trigger,
    decode,
    encode,
    manual_id,
)
from libs.contracts.topology import DEAD, triggers_queue

BATCH = 500
HEARTBEAT_SECONDS = 10.0
CONFIRM_SECONDS = 10.0


def host_names(prefix: str, number: int) -> list[str]:
    """The names of the simulated hosts."""
    return [f"{prefix}-{index:03}" for index in range(1, number + 1)]


class SimulatedHost(Part):
    """One host; `came` is shared by all of them."""

    def __init__(self, name: str, url: str, offset: float, came: dict[UUID, float]) -> None:
        super().__init__(name)
        self._url = url
        self._offset = offset
        self._came = came
        self._unsent: deque[Outgoing] = deque()
        self._news = asyncio.Event()
        self._sequence = 0
        self._who: dict[str, Any] = {"host": name, "journal_id": _drawn(), "runner_id": _drawn()}

    async def run(self) -> None:
        """Be there until told to stop."""
        await forever(self._url, self.name, self._session, self.stopping)

    async def _session(self, connection: AbstractConnection) -> None:
        publisher = Publisher(connection)
        dead = DeadLetters(publisher, DEAD, clock=_now)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(publisher))
            group.create_task(self._beat())
            await consume_each(
                connection, triggers_queue(self.name), self._take, prefetch=1, dead=dead, stopping=self.stopping
            )
            self._news.set()

    async def _take(self, delivery: Incoming) -> None:
        now = _now()
        trigger = decode(delivery.type, delivery.body)
        assert isinstance(trigger, Trigger)
        self._came.setdefault(trigger.execution_id, now.timestamp() + self._offset)
        common: dict[str, Any] = self._who | {
            "execution_id": trigger.execution_id,
            "deployment_id": trigger.deployment_id,
            "ledger_epoch": trigger.ledger_epoch,
            "version": trigger.version,
            "kind": trigger.kind,
            "scheduled_at": trigger.scheduled_at,
            "device_id": trigger.device_id,
            "script_name": trigger.script_name,
            "at": now,
            "clock_offset_seconds": self._offset,
            "received_at": now,
            "admitted_at": now,
            "started_at": now,
        }
        self._say(ExecutionStarted(**common, sequence=self._next()))
        self._say(
            ExecutionFinished(
                **common,
                sequence=self._next(),
                completed_at=now + timedelta(milliseconds=1),
                status=ExecutionStatus.COMPLETED,
                success=True,
                exit_code=0,
                duration_seconds=0.001,
            )
        )

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _say(self, event: HostEvent) -> None:
        self._unsent.append(outgoing(event, str(_drawn())))
        self._news.set()

    async def _send(self, publisher: Publisher) -> None:
        while self._unsent or not self.stopping.is_set():
            self._news.clear()
            batch = [self._unsent[index] for index in range(min(BATCH, len(self._unsent)))]
            if not batch:
                await self._news.wait()
                continue
            receipts = await publisher.publish(batch, within=CONFIRM_SECONDS)
            for receipt in receipts:  # in order: what was not confirmed stays first
                if receipt is not Receipt.CONFIRMED:
                    break
                self._unsent.popleft()

    async def _beat(self) -> None:
        while not self.stopping.is_set():
            self._say(
                HostHeartbeat(**self._who, host_sent_at=_now(), clock_offset_seconds=self._offset, wants_clock=False)
            )
            try:
                await asyncio.wait_for(self.stopping.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                continue


def _drawn() -> UUID:
    return manual_id(_now(), os.urandom(10))


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # a host's clock


def outgoing(event: HostEvent, message_id: str) -> Outgoing:
    """As a host publishes it."""
    envelope = encode(event, message_id=message_id, at=_now(), app_id="bench-host")
    return Outgoing(
        exchange=envelope.exchange,
        routing_key=envelope.routing_key,
        body=envelope.body,
        message_id=envelope.message_id,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        app_id=envelope.app_id,
        timestamp=envelope.timestamp,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Be all of them until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--offset", type=float, required=True, help="what to add to this clock for database time")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    logs.configure("bench-hosts", "console")
    came: dict[UUID, float] = {}
    hosts = [SimulatedHost(name, given.url, given.offset, came) for name in host_names(given.prefix, given.number)]
    with asyncio.Runner() as runner:
        code = runner.run(serve(hosts))
    given.out.write_text("".join(f"{execution}\t{at!r}\n" for execution, at in came.items()))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
