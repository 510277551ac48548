"""With the images that most people have: RabbitMQ 3 with its management, and PostgreSQL 15, the oldest that the ledger
promises to work with. A fire goes all the way through both. Everything else is tested with `libs/stack`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from aio_pika.abc import AbstractConnection
from psycopg import sql

from libs.chassis.amqp.connection import close, connect
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.errors import ChassisError
from libs.contracts import ExecutionFinished, ExecutionStatus, Trigger, decode, encode, topology
from libs.ledger.migrate import SERVICE_ROLES, set_password, upgrade
from libs.ledger.pool import create_pool
from services.api.ingest.results import Results
from services.scheduler.claim import Claimer
from services.scheduler.drain import Drain
from tests.support.broker import read_one
from tests.support.ledger import OWNER, LedgerDatabase, begin_early_in_a_minute
from tests.support.wait import until, until_async

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

pytestmark = pytest.mark.containers

RABBITMQ = "rabbitmq:3-management"
POSTGRES = "postgres:15"
START_SECONDS = 60.0
HOST = "lab-1"
WORD = secrets.token_hex(16)


@contextlib.contextmanager
def container(image: str, port: int, **environment: str) -> Iterator[str]:
    """A running one; where its port can be reached, `address:port`."""
    # Here: what it reads when it is imported is only right where an engine answers.
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The container that looks after others must be pulled from elsewhere and wants the engine's socket; ours end here.
    testcontainers_config.ryuk_disabled = True
    started: DockerContainer = DockerContainer(image).with_exposed_ports(port).with_envs(**environment)
    with started:
        yield f"{started.get_container_host_ip()}:{started.get_exposed_port(port)}"


@pytest.fixture
def rabbitmq_address() -> Iterator[str]:
    """Of one that may still be starting."""
    with container(RABBITMQ, 5672) as address:
        yield address


@pytest.fixture
async def broker(rabbitmq_address: str, ledger: LedgerDatabase) -> AsyncIterator[tuple[str, AbstractConnection]]:
    """After `ledger`, so that the two start side by side."""
    url = f"amqp://guest:guest@{rabbitmq_address}/"

    async def connected() -> AbstractConnection | None:
        with contextlib.suppress(ChassisError, OSError):
            return await connect(url, name="smoke")
        return None

    connection = await until_async(connected, within=START_SECONDS, what="RabbitMQ answers")
    assert connection is not None
    try:
        yield url, connection
    finally:
        await close(connection)


@pytest.fixture
def ledger(rabbitmq_address: str) -> Iterator[LedgerDatabase]:
    with container(POSTGRES, 5432, POSTGRES_PASSWORD=WORD) as address:

        def url(role: str, database: str = "rigbeat") -> str:
            return f"postgresql://{role}:{WORD}@{address}/{database}"

        def answers() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(url("postgres", "postgres"), connect_timeout=2).close()
                return True
            return False

        until(answers, within=START_SECONDS, what="PostgreSQL answers")
        with psycopg.connect(url("postgres", "postgres"), autocommit=True) as admin:
            assert admin.info.server_version // 10_000 == 15
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(OWNER)))
            # An image may be made without a locale, and would then make databases that are not of UTF-8.
            made = sql.SQL("CREATE DATABASE rigbeat OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
            admin.execute(made.format(sql.Identifier(OWNER)))
        set_password(url("postgres", "postgres"), OWNER, WORD)
        upgrade(url(OWNER))
        upgrade(url(OWNER))
        for role in SERVICE_ROLES:
            set_password(url("postgres", "postgres"), role, WORD)
        yield LedgerDatabase(
            name="rigbeat",
            superuser_url=url("postgres"),
            owner_url=url(OWNER),
            api_url=url("rigbeat_api"),
            ingest_url=url("rigbeat_ingest"),
            scheduler_url=url("rigbeat_scheduler"),
        )


async def test_a_fire_goes_through_both_and_its_result_comes_back(
    broker: tuple[str, AbstractConnection], ledger: LedgerDatabase
) -> None:
    amqp_url, connection = broker
    for each in (topology.central(), topology.of_host(HOST)):
        await declare(connection, each.exchanges, each.queues, each.bindings)
    team = ledger.team("smoke")
    ledger.host(HOST, team, ["box-1"])
    begin_early_in_a_minute(ledger)
    ledger.execute(
        "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,"
        " counted_from, next_fire_at, next_due_at)"
        " SELECT gen_random_uuid(), %s, 'smoke', %s, 'box-1', 'health.py', '* * * * *', at, at, at"
        " FROM (SELECT date_trunc('minute', ledger.now()) AS at) t",
        (team, HOST),
    )
    scheduling = await create_pool(ledger.scheduler_url, application="smoke", most=3)
    ingesting = await create_pool(ledger.ingest_url, application="smoke", most=3)
    wake = asyncio.Event()
    parts = [
        Drain(scheduling, amqp_url, batch=10, confirm_seconds=5, undeliverable_seconds=0.5, wake=wake),
        Results(ingesting, amqp_url),
    ]
    try:
        assert await Claimer(scheduling, batch=10, wake=asyncio.Event()).claim() == 1
        for part in parts:
            await part.start()
        seen = await read_one(connection, topology.triggers_queue(HOST), within=20)
        trigger = decode(seen.type, seen.body)
        assert isinstance(trigger, Trigger)
        await _finish(connection, trigger)

        async def ended() -> bool:
            rows = ledger.execute("SELECT status, success, published_at IS NOT NULL FROM deployment_executions")
            return rows == [("completed", True, True)]

        await until_async(ended, within=20, what="the result is in the ledger")
    finally:
        for part in parts:
            await part.stop(5)
        scheduling.terminate()
        ingesting.terminate()


async def _finish(connection: AbstractConnection, trigger: Trigger) -> None:
    now = datetime.now(UTC)  # noqa: TID251  # a host's clock
    fact = ExecutionFinished(
        host=HOST,
        journal_id=trigger.deployment_id,
        runner_id=trigger.deployment_id,
        execution_id=trigger.execution_id,
        deployment_id=trigger.deployment_id,
        ledger_epoch=trigger.ledger_epoch,
        version=trigger.version,
        kind=trigger.kind,
        scheduled_at=trigger.scheduled_at,
        device_id=trigger.device_id,
        script_name=trigger.script_name,
        sequence=1,
        at=now,
        clock_offset_seconds=0.0,
        received_at=now,
        admitted_at=now,
        started_at=now,
        completed_at=now,
        status=ExecutionStatus.COMPLETED,
        success=True,
        exit_code=0,
        duration_seconds=0.0,
    )
    envelope = encode(fact, message_id="smoke:1", at=now, app_id="smoke")
    message = Outgoing(
        exchange=envelope.exchange,
        routing_key=envelope.routing_key,
        body=envelope.body,
        message_id=envelope.message_id,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        app_id=envelope.app_id,
        timestamp=envelope.timestamp,
    )
    publisher = Publisher(connection)
    assert await publisher.publish([message]) == [Receipt.CONFIRMED]
    await publisher.close()
