"""An ingest that the broker gives nothing any more: a proxy loses frames, the process ends, the next one consumes.

And what looks alike ends nothing: a database that is away, a backlog, a standby that is never asked.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from libs.chassis.amqp.apart import PublisherApart
from libs.chassis.amqp.declare import depth
from libs.chassis.errors import ConsumerSilent
from libs.contracts.topology import DEAD_LETTERS, RESULTS_PERSIST
from libs.stack.ports import free_port
from libs.stack.process import start
from libs.stack.rabbitmq import RabbitMQ
from services.api.ingest.dead_letters import DeadLetterBox
from services.api.ingest.session import Watch
from tests.support.amqp_proxy import AmqpProxy, a_proxy
from tests.support.ingest import Lab, Word, a_lab
from tests.support.ledger import LedgerDatabase
from tests.support.link import Links
from tests.support.wait import until_async
from tests.support.watchdog import (
    CENTRAL,
    LIMIT,
    ROOT,
    TO_END,
    Stopwatch,
    are_consumed,
    consumes,
    has_looked,
    ingest_environment,
    kept,
    true,
)

INGEST = "services.api.ingest"
NEVER = 1_000_000.0


@pytest.fixture
async def lab(rabbitmq: RabbitMQ, ledger_database: LedgerDatabase) -> AsyncIterator[Lab]:
    async with a_lab(rabbitmq, ledger_database) as lab:
        yield lab


@pytest.fixture
async def proxy(lab: Lab) -> AsyncIterator[AmqpProxy]:
    async with a_proxy(lab.amqp_url) as proxy:
        yield proxy


async def test_an_ingest_whose_channel_delivers_nothing_ends_and_the_next_one_folds_what_waits(
    lab: Lab, proxy: AmqpProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = lab.deploy("d")
    executions = [lab.trigger(deployment) for _ in range(3)]
    async with kept("ingest", INGEST, ingest_environment(proxy.url, lab.database.ingest_url), tmp_path) as ingest:
        await are_consumed(lab.connection, *CENTRAL)
        await lab.tell(Word(executions[0], deployment).finished())
        await lab.row_is(executions[0], "completed", None, False)

        proxy.muted_channels.add(RESULTS_PERSIST)
        proxy.cut()  # as a restart of the broker does; it comes back, and believes that it consumes
        await are_consumed(lab.connection, RESULTS_PERSIST)
        since = Stopwatch()
        await lab.tell(*(Word(one, deployment).finished() for one in executions[1:]))
        await ingest.ended()
        since.says("an ingest whose channel delivers nothing has ended")
        proxy.heal()
        for one in executions[1:]:
            await lab.row_is(one, "completed", None, False, within=20)
        since.says("the next one has folded what waited")
        assert proxy.dropped >= 2
        assert "the consumer of results.persist is silent: its channel delivers nothing" in ingest.log.read_text()
    said = capsys.readouterr().out
    sys.stdout.write(said)
    assert "ended with exit code 1; it is started again" in said


async def test_an_ingest_that_the_broker_does_not_know_ends_and_the_next_one_folds_what_waits(
    lab: Lab, proxy: AmqpProxy, tmp_path: Path
) -> None:
    """The whole API, whose own supervisor starts its ingest anew."""
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    port = free_port()
    environment = ingest_environment(proxy.url, lab.database.ingest_url) | {
        "PATH": os.environ["PATH"],  # noqa: TID251 - of the test itself
        "RIGBEAT_DATABASE_URL": lab.database.api_url,
        "RIGBEAT_HTTP_PORT": str(port),
        "RIGBEAT_WEB_WORKERS": "1",
        "RIGBEAT_ARTIFACTS_URL": f"file://{tmp_path}/artifacts",
    }
    api = start("api", [sys.executable, "-m", "services.api"], env=environment, log=tmp_path / "api.log", cwd=ROOT)
    try:
        await are_consumed(lab.connection, *CENTRAL)
        proxy.forged.add(RESULTS_PERSIST)
        proxy.cut()
        await true(lambda: proxy.forgeries > 0, within=20, what="it believes that it consumes")
        since = Stopwatch()
        await lab.tell(Word(execution, deployment).finished())
        again = "A child ended and is started again"
        await true(lambda: again in api.log.read_text(), within=TO_END, what="the ingest's end")
        since.says("an ingest that the broker does not know has ended")
        proxy.heal()
        await lab.row_is(execution, "completed", None, False, within=20)
        since.says("the next one has folded what waited")
        # The count outlives the child that counted.
        counted = 'rigbeat_amqp_silent_consumers_total{queue="results.persist",sign="count"} 1.0'
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert counted in (await client.get("/metrics")).text
        log = api.log.read_text()
        assert "the consumer of results.persist is silent: the broker knows no consumer of the queue" in log
        assert "child=ingest exit_code=1" in log
    finally:
        await asyncio.to_thread(api.terminate, 20)


async def test_without_a_watchdog_nothing_is_consumed_for_ever(lab: Lab, proxy: AmqpProxy, tmp_path: Path) -> None:
    """What the watchdog is there for: nothing else notices."""
    deployment = lab.deploy("d")
    execution = lab.trigger(deployment)
    environment = ingest_environment(proxy.url, lab.database.ingest_url, limit=NEVER)
    async with kept("ingest", INGEST, environment, tmp_path) as ingest:
        await are_consumed(lab.connection, *CENTRAL)
        proxy.muted_channels |= {RESULTS_PERSIST, DEAD_LETTERS}
        await lab.tell(Word(execution, deployment).finished())
        # The barrier: a watched consumer with the same fault, that begins after it, is found.
        echoes = PublisherApart(proxy.url, "test echoes")
        watched = DeadLetterBox(lab.pool, proxy.url, Watch(echoes, LIMIT))
        try:
            for part in (echoes, watched):
                await part.start()
            await true(lambda: watched.failure is not None, within=TO_END, what="the watched one is found")
        finally:
            for part in (watched, echoes):
                await part.stop(5)
        assert isinstance(watched.failure, ConsumerSilent)
        assert lab.row(execution) == ("triggered", None, False)
        assert ingest.is_well()
        assert proxy.dropped > 0


async def test_a_standby_a_backlog_and_a_database_that_is_away_end_nothing(lab: Lab, tmp_path: Path) -> None:
    deployment = lab.deploy("d")
    executions = [lab.trigger(deployment) for _ in range(3)]
    async with AsyncExitStack() as stack:
        links = Links()
        stack.callback(links.close)
        port = urlsplit(lab.database.ingest_url).port
        assert port is not None
        database = links.to(port)
        both = []
        for name in ("one", "other"):
            proxy = await stack.enter_async_context(a_proxy(lab.amqp_url))
            environment = ingest_environment(proxy.url, _through(database.port, lab.database.ingest_url))
            both.append((proxy, await stack.enter_async_context(kept(name, INGEST, environment, tmp_path))))
        for proxy, _ in both:
            await consumes(proxy, *CENTRAL)
        await lab.tell(Word(executions[0], deployment).finished())
        await lab.row_is(executions[0], "completed", None, False)

        async def many_wait() -> bool:
            # A busy leader may answer that nothing waits; once they are folded it says so for ever.
            return (await depth(lab.connection, RESULTS_PERSIST))[0] >= 1000

        # More comes than the active one may hold, so that the rest waits before the standby's eyes.
        database.cut()
        await lab.send(*(lab.outgoing(Word(executions[1], deployment).started()) for _ in range(2500)))
        await until_async(many_wait, within=10, what="they wait")
        await asyncio.gather(*(has_looked(proxy, 2.5, watchdogs=2) for proxy, _ in both))
        for _, ingest in both:
            assert ingest.is_well(), ingest.log.read_text()
        assert sum("Consuming pauses" in ingest.log.read_text() for _, ingest in both) >= 1
        await until_async(many_wait, within=10, what="they still wait: nobody could fold them")

        database.mend()
        await lab.tell(Word(executions[2], deployment).finished())
        await lab.row_is(executions[2], "completed", None, False, within=60)
        assert lab.row(executions[1], "status") == ("running",)
        for _, ingest in both:
            assert ingest.is_well()


def _through(port: int, url: str) -> str:
    """The url with another port."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")))
