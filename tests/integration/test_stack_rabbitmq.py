"""The stack's RabbitMQ: it starts, keeps what it must, refuses with one sentence, ends with whoever started it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import aiormq
import httpx
import psutil
import pytest

from libs.stack.errors import StackError
from libs.stack.rabbitmq import RabbitMQ
from tests.support.processes import is_gone, parent
from tests.support.versions import chosen
from tests.support.wait import until

_GONE_SECONDS = 10.0
_PARENT = """
import sys
from pathlib import Path
from tests.support.versions import versions_of
versions_of(sys.argv[4:]).rabbitmq(Path(sys.argv[1]), log=Path(sys.argv[2]), port=int(sys.argv[3])).start()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RabbitMQ]:
    """Not started yet, and durable: it stops orderly."""
    made = chosen().rabbitmq(tmp_path / "home", log=tmp_path / "rabbitmq.log")
    try:
        yield made
    finally:
        made.destroy()


async def put(url: str, *words: str) -> None:
    """One persistent, confirmed message for each word, in a quorum queue and in a durable classic one."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for kind in ("quorum", "classic"):
            queue = await channel.declare_queue(f"kept.{kind}", durable=True, arguments={"x-queue-type": kind})
            for word in words:
                message = aio_pika.Message(word.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, queue.name)


async def take(url: str) -> dict[str, list[str]]:
    """What both queues hold; it stays there, since nothing is acknowledged."""
    found: dict[str, list[str]] = {}
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for kind in ("quorum", "classic"):
            queue = await channel.get_queue(f"kept.{kind}", ensure=False)
            held = found.setdefault(kind, [])
            while message := await queue.get(fail=False, timeout=5):
                held.append(message.body.decode())
    return found


async def test_a_quorum_queue_takes_and_gives_a_message(rabbitmq: RabbitMQ) -> None:
    async with await aio_pika.connect(rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("stack.quorum", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"one"), queue.name)
        message = await queue.get(timeout=5)
        assert message is not None
        assert message.body == b"one"
        await message.ack()
        await queue.delete(if_unused=False, if_empty=False)


async def test_there_is_no_guest(rabbitmq: RabbitMQ) -> None:
    with pytest.raises(aiormq.exceptions.AMQPConnectionError, match="ACCESS_REFUSED"):
        await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}/")


async def test_management_wants_the_drawn_password_and_metrics_are_served(rabbitmq: RabbitMQ) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        overview = await client.get(f"{rabbitmq.management_url}/api/overview")
        assert overview.json()["cluster_name"]
        stranger = await client.get(f"http://127.0.0.1:{rabbitmq.management_port}/api/overview")
        assert stranger.status_code == httpx.codes.UNAUTHORIZED
        metrics = await client.get(f"http://127.0.0.1:{rabbitmq.prometheus_port}/metrics")
        assert "rabbitmq_identity_info" in metrics.text


def test_node_and_epmd_listen_on_the_loopback_interface_only(rabbitmq: RabbitMQ) -> None:
    assert rabbitmq.epmd is not None
    processes = [psutil.Process(rabbitmq.pid), psutil.Process(rabbitmq.epmd.pid)]
    listening = [c.laddr for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 5
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_secrets_are_for_the_owner_alone(rabbitmq: RabbitMQ) -> None:
    for name in ("password", "rabbitmq.conf", ".erlang.cookie"):
        assert (rabbitmq.directory / name).stat().st_mode & 0o077 == 0, name
    command = " ".join(psutil.Process(rabbitmq.pid).cmdline())
    assert str(urlsplit(rabbitmq.amqp_url).password) not in command
    assert (rabbitmq.directory / ".erlang.cookie").read_text() not in command


def test_a_second_node_on_the_same_directory_is_refused_with_the_pid_of_the_first(rabbitmq: RabbitMQ) -> None:
    second = chosen().rabbitmq(rabbitmq.directory, log=rabbitmq.log)
    with pytest.raises(StackError, match=rf"pid {rabbitmq.pid} still runs on .*kill {rabbitmq.pid}.*another directory"):
        second.start()
    second.stop()
    assert rabbitmq.pid is not None


@pytest.mark.timeout(180)
def test_queues_and_messages_outlast_a_restart_and_a_killed_parent(server: RabbitMQ, tmp_path: Path) -> None:
    server.stop()
    first = server.start()
    assert server.start() is first
    url = server.amqp_url
    asyncio.run(put(url, "before the restart"))
    server.stop()
    server.stop()
    assert server.pid is None
    assert first.poll() == 0

    told = (server.directory, server.log, str(server.port), *chosen().words())
    with parent(_PARENT, *told, log=tmp_path / "parent.log") as starter:
        asyncio.run(put(url, "before the kill"))
        family = starter.family()
        assert {"beam.smp", "epmd"} <= {process.name() for process in family}
        starter.kill()
        until(lambda: all(map(is_gone, family)), within=_GONE_SECONDS, what=f"{family} gone")

    server.start()
    assert server.amqp_url == url
    words = ["before the restart", "before the kill"]
    assert asyncio.run(take(url)) == {"quorum": words, "classic": words}


def test_a_taken_port_is_named_with_the_process_that_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = chosen().rabbitmq(tmp_path / "home", management_port=port, log=tmp_path / "rabbitmq.log")
        with pytest.raises(
            StackError, match=rf"Port {port} for RabbitMQ's management .*pid {os.getpid()}.*another port"
        ):
            server.start()
        server.stop()


def test_a_node_that_cannot_start_says_where_to_look_and_leaves_no_process(tmp_path: Path) -> None:
    server = chosen().rabbitmq(tmp_path / "home", log=tmp_path / "rabbitmq.log")
    server.directory.mkdir()
    (server.directory / "mnesia").write_text("not a directory")
    before = set(psutil.Process().children())
    with pytest.raises(StackError, match=f"RabbitMQ ended while it started .*see {re.escape(str(server.log))}"):
        server.start()
    assert server.pid is None
    assert server.epmd is None
    assert set(psutil.Process().children()) <= before
