"""The API keeps the broker's queues as they should be, and goes on when it cannot."""

from __future__ import annotations

import aiormq.exceptions as amqp
import pytest
from prometheus_client import REGISTRY

from libs.chassis.amqp.channel import channel_of
from libs.chassis.amqp.declare import depth
from libs.chassis.errors import QueueMissing
from libs.contracts.topology import commands_queue, triggers_queue
from libs.stack.rabbitmq import RabbitMQ
from services.api.topology import Declaration
from tests.support.ingest import Lab, a_lab
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async


async def _is_there(lab: Lab, queue: str) -> bool:
    try:
        await depth(lab.connection, queue)
    except QueueMissing:
        return False
    return True


async def test_a_queue_that_somebody_made_otherwise_keeps_no_other_one_away(
    rabbitmq: RabbitMQ, ledger_database: LedgerDatabase
) -> None:
    async with a_lab(rabbitmq, ledger_database) as lab:
        declaration = Declaration(lab.amqp_url, ledger_database.ingest_url, lambda: None, every_seconds=0.1)
        await declaration.start()
        await declaration.declared.wait()
        mine, other = triggers_queue("lab-1"), commands_queue("lab-2")
        assert await _is_there(lab, other)

        async def is_made_otherwise() -> bool:
            try:
                async with channel_of(lab.connection) as channel:
                    await channel.queue_delete(mine)
                    await channel.queue_declare(mine, durable=False, exclusive=True)
            except amqp.ChannelClosed:
                return False
            return True

        # By somebody who knows better, and who tries again when it was made anew before him.
        await until_async(is_made_otherwise, within=10, what="the queue is somebody's")
        async with channel_of(lab.connection) as channel:
            await channel.queue_delete(other)

        async def is_there_again() -> bool:
            return await _is_there(lab, other)

        await until_async(is_there_again, within=10, what="the other host's queue is made anew")
        assert declaration.failure is None
        await declaration.stop(5)


async def test_the_queues_of_a_host_that_was_revoked_while_the_broker_was_away_go_when_it_is_back(
    rabbitmq: RabbitMQ, ledger_database: LedgerDatabase
) -> None:
    async with a_lab(rabbitmq, ledger_database) as lab:
        ledger_database.execute("UPDATE hosts SET revoked_at = ledger.now(), drop_queues = name = 'lab-1'")
        declaration = Declaration(lab.amqp_url, ledger_database.ingest_url, lambda: None, every_seconds=0.1)
        await declaration.start()
        await declaration.declared.wait()
        assert not await _is_there(lab, triggers_queue("lab-1"))
        assert not await _is_there(lab, commands_queue("lab-1"))
        assert ledger_database.execute("SELECT count(*) FROM hosts WHERE drop_queues") == [(0,)]
        await declaration.stop(5)


async def test_a_database_that_is_away_later_costs_no_connection_to_the_broker(
    rabbitmq: RabbitMQ, ledger_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def away(*_: object, **__: object) -> None:
        nonlocal tried
        tried += 1
        raise ConnectionRefusedError("nobody listens")

    async with a_lab(rabbitmq, ledger_database) as lab:
        declaration = Declaration(lab.amqp_url, ledger_database.ingest_url, lambda: None, every_seconds=0.1)
        await declaration.start()
        await declaration.declared.wait()
        before = _lost()
        with monkeypatch.context() as patched:
            patched.setattr("services.api.topology.pool.connect", away)

            async def has_tried() -> bool:
                return tried >= 3

            await until_async(has_tried, within=10, what="it has tried three times")
        queue = triggers_queue("lab-1")
        async with channel_of(lab.connection) as channel:
            await channel.queue_delete(queue)

        async def is_there_again() -> bool:
            return await _is_there(lab, queue)

        await until_async(is_there_again, within=10, what="it declares again when the database is back")
        assert _lost() == before
        assert declaration.failure is None
        await declaration.stop(5)


def _lost() -> float:
    name = "rigbeat_amqp_connections_lost_total"
    return REGISTRY.get_sample_value(name, {"connection": "api-topology"}) or 0.0
