"""A laboratory for the ingest: a ledger, a broker's virtual host of its own, and hosts that say what a test wants."""

from __future__ import annotations

import json
import os
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import close, connect
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.lifecycle import Part
from libs.contracts import (
    CommandApplied,
    CommandResult,
    DeviceInfo,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    HostEvent,
    HostHeartbeat,
    HostHello,
    Kind,
    Reason,
    Trigger,
    Void,
    encode,
    manual_id,
    topology,
)
from libs.ledger.pool import Pool, create_pool
from libs.stack.rabbitmq import RabbitMQ
from services.api.ingest.dead_letters import DeadLetterBox
from services.api.ingest.presence import Presence
from services.api.ingest.results import Results
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async

_numbers = count(1)
NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251  # near the clock: partitions are made around it
JOURNAL = UUID(int=0xA)


def fresh_id() -> UUID:
    return manual_id(NOW, os.urandom(10))


@dataclass
class Lab:
    """Two hosts, `lab-1` and `lab-2`, of one team; what they say goes through the real broker into the real ledger."""

    database: LedgerDatabase
    amqp_url: str
    connection: AbstractConnection
    publisher: Publisher
    pool: Pool
    team: UUID

    def one(self, statement: str, *parameters: object) -> Any:
        """The one value of the one row; None without a row."""
        rows = self.database.execute(statement, parameters)
        return rows[0][0] if rows else None

    def deploy(self, name: str, *, host: str = "lab-1", limit: int | None = None, **columns: object) -> UUID:
        """An active deployment, with its first version in the history."""
        identity = fresh_id()
        columns = {"status": "active", "version": 1, "next_fire_at": None, "next_due_at": None} | columns
        names = ", ".join(columns)
        self.database.execute(
            "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,"
            f" max_executions, counted_from, {names})"
            f" VALUES (%s, %s, %s, %s, 'box-1', 'health.py', '* * * * *', %s, %s, {', '.join(['%s'] * len(columns))})",
            (identity, self.team, name, host, limit, NOW - timedelta(days=1), *columns.values()),
        )
        self.version(identity, 1, "active")
        return identity

    def version(self, deployment: UUID, version: int, status: str) -> None:
        """A row of the history."""
        self.database.execute(
            "INSERT INTO deployment_versions SELECT id, %s, team_id, ledger.now(), counted_from, cron_expression,"
            " timezone, start_date, end_date, max_executions, %s, NULL, catch_up, catch_up_window_seconds,"
            " on_device_busy, max_wait_seconds, timeout_seconds, silence_timeout_seconds, false, NULL"
            " FROM deployments WHERE id = %s ON CONFLICT DO NOTHING",
            (version, status, deployment),
        )

    def trigger(self, deployment: UUID, **columns: object) -> UUID:
        """An execution that a scheduler has triggered."""
        identity = fresh_id()
        columns = {"status": "triggered"} | columns
        names = ", ".join(columns)
        self.database.execute(
            "INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, version, host_name,"
            f" device_id, script_name, decided_at, {names})"
            f" SELECT %s, id, team_id, %s, 'cron', 1, host_name, device_id, script_name, %s,"
            f" {', '.join(['%s'] * len(columns))} FROM deployments WHERE id = %s",
            (identity, NOW, NOW, *columns.values(), deployment),
        )
        return identity

    def row(self, execution: UUID, *columns: str) -> tuple[Any, ...]:
        """Columns of an execution's row; empty without a row."""
        names = ", ".join(columns or ("status", "reason", "presumed"))
        rows = self.database.execute(f"SELECT {names} FROM deployment_executions WHERE id = %s", (execution,))
        return tuple(rows[0]) if rows else ()

    async def row_is(self, execution: UUID, *wanted: object, columns: Sequence[str] = (), within: float = 10) -> None:
        """Wait until the row has these values."""

        async def is_so() -> bool:
            return self.row(execution, *columns) == wanted

        await until_async(is_so, within=within, what=f"{wanted}, not {self.row(execution, *columns)}")

    async def value_is(self, wanted: object, statement: str, *parameters: object, within: float = 10) -> None:
        """Wait until a query answers this value."""

        async def is_so() -> bool:
            return bool(self.one(statement, *parameters) == wanted)

        await until_async(is_so, within=within, what=f"{wanted!r} from {statement}")

    async def tell(self, *events: HostEvent, key: str | None = None) -> None:
        """Publish events as hosts do, confirmed."""
        await self.send(*(self.outgoing(event, key=key) for event in events))

    async def send(self, *messages: Outgoing) -> None:
        """Publish anything, confirmed."""
        receipts = await self.publisher.publish(messages, within=30)
        assert receipts == [Receipt.CONFIRMED] * len(messages)

    def outgoing(self, message: HostEvent | Trigger, *, key: str | None = None) -> Outgoing:
        """The message as its sender publishes it."""
        envelope = encode(message, message_id=f"test:{next(_numbers)}", at=NOW, app_id="test")
        return Outgoing(
            exchange=envelope.exchange,
            routing_key=key or envelope.routing_key,
            body=envelope.body,
            message_id=envelope.message_id,
            type=envelope.type,
            correlation_id=envelope.correlation_id,
            app_id=envelope.app_id,
            timestamp=envelope.timestamp,
        )

    def message(
        self, body: bytes, *, type_: str, key: str, exchange: str = topology.RESULTS, **headers: str
    ) -> Outgoing:
        """Any bytes under any name."""
        return Outgoing(
            exchange=exchange,
            routing_key=key,
            body=body,
            message_id=f"test:{next(_numbers)}",
            type=type_,
            correlation_id=None,
            app_id="test",
            timestamp=NOW,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


class Word:
    """What a host says about one execution; times count from `NOW`, in seconds."""

    def __init__(self, execution: UUID, deployment: UUID, host: str = "lab-1") -> None:
        self._common: dict[str, Any] = {
            "host": host,
            "journal_id": JOURNAL,
            "runner_id": JOURNAL,
            "execution_id": execution,
            "deployment_id": deployment,
            "ledger_epoch": 1,
            "version": 1,
            "kind": Kind.CRON,
            "scheduled_at": NOW,
            "device_id": "box-1",
            "script_name": "health.py",
            "sequence": next(_numbers),
            "received_at": NOW + timedelta(seconds=1),
        }

    def queued(self) -> ExecutionQueued:
        return ExecutionQueued(**self._common, at=NOW + timedelta(seconds=2), reason=Reason.DEVICE_BUSY)

    def skipped(self, reason: Reason = Reason.ALREADY_QUEUED) -> ExecutionSkipped:
        return ExecutionSkipped(**self._common, at=NOW + timedelta(seconds=2), reason=reason, message="because")

    def started(self) -> ExecutionStarted:
        at = NOW + timedelta(seconds=3)
        return ExecutionStarted(**self._common, at=at, admitted_at=at, started_at=at)

    def finished(
        self, status: ExecutionStatus = ExecutionStatus.COMPLETED, *, did_start: bool = True, **more: Any
    ) -> ExecutionFinished:
        values: dict[str, Any] = {
            **self._common,
            "at": NOW + timedelta(seconds=9),
            "admitted_at": NOW + timedelta(seconds=3),
            "started_at": NOW + timedelta(seconds=3) if did_start else None,
            "completed_at": NOW + timedelta(seconds=9),
            "status": status,
        }
        return ExecutionFinished(**(values | more))


def hello(host: str = "lab-1", *, journal: UUID = JOURNAL, held: Sequence[UUID] = (), sent: float = 0) -> HostHello:
    return HostHello(
        host=host,
        journal_id=journal,
        runner_id=JOURNAL,
        boot_id="boot-1",
        runner_version="1.2.3",
        held=tuple(held),
        host_sent_at=NOW + timedelta(seconds=sent),
        max_parallel=2,
        devices=(DeviceInfo(device_id="box-1", model="settop", labels={"floor": "2"}), DeviceInfo(device_id="box-2")),
    )


def heartbeat(host: str = "lab-1", **values: Any) -> HostHeartbeat:
    return HostHeartbeat(host=host, journal_id=JOURNAL, runner_id=JOURNAL, host_sent_at=NOW, **values)


def voided(command: UUID, execution: UUID, result: CommandResult, host: str = "lab-1") -> CommandApplied:
    return CommandApplied(
        host=host,
        journal_id=JOURNAL,
        runner_id=JOURNAL,
        command_id=command,
        command=Void.type,
        result=result,
        sequence=next(_numbers),
        at=NOW,
        execution_id=execution,
    )


def trigger_message(execution: UUID, deployment: UUID, host: str = "lab-1") -> Trigger:
    return Trigger(
        execution_id=execution,
        deployment_id=deployment,
        deployment_name="d",
        ledger_epoch=1,
        version=1,
        kind=Kind.CRON,
        scheduled_at=NOW,
        not_after=NOW,
        host=host,
        device_id="box-1",
        script_name="health.py",
    )


@asynccontextmanager
async def a_lab(rabbitmq: RabbitMQ, database: LedgerDatabase) -> AsyncIterator[Lab]:
    """A virtual host with the central queues and those of `lab-1`, and the two hosts in the ledger."""
    team = database.team("a")
    for host in ("lab-1", "lab-2"):
        database.host(host, team, ["box-1"])
    name = f"ingest-{os.getpid()}-{next(_numbers)}"
    user = urlsplit(rabbitmq.amqp_url).username
    _manage(rabbitmq, "PUT", f"vhosts/{name}")
    try:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        _manage(rabbitmq, "PUT", f"permissions/{name}/{user}", everything)
        url = rabbitmq.amqp_url.rstrip("/") + f"/{name}"
        connection = await connect(url, name="test host")
        pool = await create_pool(database.ingest_url, application="test", most=4)
        try:
            for part in (topology.central(), topology.of_host("lab-1")):
                await declare(connection, part.exchanges, part.queues, part.bindings)
            yield Lab(database, url, connection, Publisher(connection), pool, team)
        finally:
            pool.terminate()
            await close(connection)
    finally:
        _manage(rabbitmq, "DELETE", f"vhosts/{name}")


@asynccontextmanager
async def ingesting(lab: Lab, *parts: Part) -> AsyncIterator[None]:
    """Run the ingest's consumers (or `parts`); none may have crashed at the end."""
    running = parts or (
        Results(lab.pool, lab.amqp_url),
        Presence(lab.pool, lab.amqp_url),
        DeadLetterBox(lab.pool, lab.amqp_url),
    )
    try:
        for part in running:
            await part.start()
        yield
    finally:
        for part in running:
            await part.stop(5)
    for part in running:
        if part.failure is not None:
            raise part.failure


def _manage(rabbitmq: RabbitMQ, method: str, path: str, body: object = None) -> None:
    target = urlsplit(rabbitmq.management_url)
    request = urllib.request.Request(
        f"http://{target.hostname}:{target.port}/api/{quote(path)}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={
            "Authorization": "Basic " + b64encode(f"{target.username}:{target.password}".encode()).decode(),
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
