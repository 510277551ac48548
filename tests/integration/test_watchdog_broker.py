"""Both services over a restart of the broker, under load, that takes longer than the watchdog's time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import closing, connect, forever
from libs.chassis.amqp.declare import declare, depth
from libs.chassis.amqp.message import Outgoing
from libs.chassis.amqp.publisher import Publisher
from libs.contracts import topology
from libs.contracts.topology import RESULTS, RESULTS_PERSIST, commands_queue, presence_queue, triggers_queue
from libs.stack.rabbitmq import RabbitMQ
from tests.integration.test_host_runner import Lab
from tests.support.amqp_proxy import a_proxy
from tests.support.ingest import NOW
from tests.support.ledger import LedgerDatabase
from tests.support.log_sink import LogSink
from tests.support.versions import chosen
from tests.support.wait import until_async
from tests.support.watchdog import CENTRAL, Stopwatch, are_consumed, has_looked, ingest_environment, kept, true

LIMIT = 3.0
BACK_WITHIN = 30.0

_numbers = count(1)


@pytest.mark.timeout(300)  # two starts of a broker, and all that is waited for in between
async def test_after_a_restart_of_the_broker_under_load_everybody_is_back_and_nobody_has_ended(
    tmp_path: Path, ledger_database: LedgerDatabase
) -> None:
    broker = chosen().rabbitmq(tmp_path / "broker", log=tmp_path / "broker.log")
    sink = LogSink()
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.callback(broker.destroy)
        await asyncio.to_thread(broker.start)
        await sink.start()
        stack.push_async_callback(sink.stop)
        proxy = await stack.enter_async_context(a_proxy(broker.amqp_url))
        lab, own = await _a_lab(tmp_path, broker, sink, ledger_database, stack)
        environment = lab.environment() | {"RIGBEAT_AMQP_URL": proxy.url, "RIGBEAT_WATCHDOG_SECONDS": str(LIMIT)}
        runner = await stack.enter_async_context(kept("runner", "services.host_runner", environment, tmp_path))
        stack.callback((tmp_path / "go-all").touch)
        environment = ingest_environment(proxy.url, ledger_database.ingest_url, limit=LIMIT)
        ingest = await stack.enter_async_context(kept("ingest", "services.api.ingest", environment, tmp_path))
        await are_consumed(lab._connection, *CENTRAL, *own)
        load = _Load(lab.host, stopping)
        loading = asyncio.create_task(forever(broker.amqp_url, "load", load.body, stopping))
        stack.callback(loading.cancel)
        await true(lambda: load.sent > 2000, within=20, what="load")

        away = Stopwatch()
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        away.says(f"the broker is back; {load.sent} messages were sent before")
        assert away.seconds > LIMIT, "it must be away for longer than the watchdog's time"
        back = Stopwatch()
        await _attend(lab, broker, stack)
        await are_consumed(lab._connection, *CENTRAL, *own, within=BACK_WITHIN)
        back.says("all six queues are consumed again")
        sent = load.sent
        await true(lambda: load.sent > sent + 2000, within=20, what="load again")
        trigger = await lab.run("after")
        lab.may_end(trigger)
        await true(lambda: trigger.execution_id in lab.effects(), within=20, what="it ran")
        stopping.set()
        await loading
        await has_looked(proxy, 1.25, limit=LIMIT)
        await until_async(lambda: _all_is_folded(lab._connection), within=60, what="all is folded")
        back.says(f"all is folded; {load.sent} messages were sent")
        assert runner.is_well(), runner.log.read_text()
        assert ingest.is_well(), ingest.log.read_text()


async def _a_lab(
    place: Path, broker: RabbitMQ, sink: LogSink, database: LedgerDatabase, stack: AsyncExitStack
) -> tuple[Lab, tuple[str, ...]]:
    """A host that the ledger knows, and its queues."""
    lab = Lab(place, broker.amqp_url, None, sink)  # type: ignore[arg-type]  # connected by `_attend`, each time anew
    database.host(lab.host, database.team("a"), ["stb-1"])
    await _attend(lab, broker, stack)
    return lab, (presence_queue(lab.host), commands_queue(lab.host), triggers_queue(lab.host))


async def _attend(lab: Lab, broker: RabbitMQ, stack: AsyncExitStack) -> None:
    """Be the centre on a new connection."""
    connection = await connect(broker.amqp_url, name="test centre")
    await stack.enter_async_context(closing(connection))
    lab._connection, lab._publisher = connection, Publisher(connection)
    for part in (topology.central(), topology.of_host(lab.host)):
        await declare(connection, part.exchanges, part.queues, part.bindings)
    channel = await connection.channel()
    ears = await channel.declare_queue(exclusive=True)
    await ears.bind(RESULTS, f"{lab.host}.hello")
    await ears.consume(lab.listen, no_ack=True)


class _Load:
    """Heartbeats and unreadable results, as many as go out: the ingest takes and buries them, and stores the graves."""

    def __init__(self, host: str, stopping: asyncio.Event) -> None:
        self._host = host
        self._stopping = stopping
        self.sent = 0

    async def body(self, connection: AbstractConnection) -> None:
        publisher = Publisher(connection)
        while not self._stopping.is_set():
            batch = [self._message(event) for event in 9 * ["heartbeat"] + ["started"] for _ in range(5)]
            await publisher.publish(batch)
            self.sent += len(batch)

    def _message(self, event: str) -> Outgoing:
        return Outgoing(
            exchange=RESULTS,
            routing_key=f"{self._host}.{event}",
            body=b"{}",
            message_id=f"load:{next(_numbers)}",
            type="test",
            correlation_id=None,
            app_id="test",
            timestamp=NOW,
        )


async def _all_is_folded(connection: AbstractConnection) -> bool:
    return (await depth(connection, RESULTS_PERSIST))[0] == 0
