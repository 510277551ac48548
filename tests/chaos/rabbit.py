"""What a row does to the broker that no client may: by its management API, by Erlang, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from aio_pika import Message

from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import depth
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.errors import ChassisError
from libs.chassis.exposure import trusting
from libs.chassis.tls import http_context
from libs.stack.installation import Installation
from libs.stack.process import run
from libs.stack.rabbitmq import RabbitMQ

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def manage(broker: RabbitMQ, method: str, path: str, body: object = None) -> Any:
    """A call of the management API; what it answers."""
    parts = urlsplit(broker.management_url)
    answer = httpx.request(
        method,
        f"{parts.scheme}://{parts.hostname}:{parts.port}/api{path}",
        auth=(str(parts.username), str(parts.password)),
        json=body,
        timeout=20,
        trust_env=False,
        verify=http_context(broker.management_url, _ca(broker)),
    )
    assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def _ca(broker: RabbitMQ) -> str | None:
    return None if broker._tls is None else str(broker._tls.ca)


def _url(broker: RabbitMQ) -> str:
    return trusting(broker.amqp_url, _ca(broker), plaintext=False)


def queue(name: str) -> str:
    """Its path in the management API."""
    return f"/queues/%2F/{quote(name, safe='')}"


def evaluate(broker: RabbitMQ, module: str, function: str, arguments: str) -> None:
    """Call a function inside the broker."""
    node = broker._node
    assert node is not None
    assert isinstance(node.installation, Installation)
    caller = node.installation.erlang / "erl_call"
    found = caller if caller.exists() else next(node.installation.erlang.parent.rglob("erl_call"))
    told = ["-sname", node.name, "-timeout", "10", "-a", f"{module} {function} {arguments}"]
    ended = run([found, *told], env=node.environment(), cwd=broker.directory, within=20)
    assert ended.code == 0, ended.output


def publish_all(broker: RabbitMQ, messages: Sequence[Outgoing]) -> list[Receipt]:
    """Publish these, and what became of each."""

    async def send() -> list[Receipt]:
        async with closing(await connect(_url(broker), name="a row of the fault suite")) as connection:
            return await Publisher(connection).publish(messages, within=30)

    return asyncio.run(send())


def publish(broker: RabbitMQ, exchange: str, key: str, body: bytes, *, kind: str, identity: str = "") -> Receipt:
    """Publish one message."""
    message = Outgoing(exchange, key, body, identity or f"row:{hash(body)}:{key}", kind, None, "chaos", _AT)
    return publish_all(broker, [message])[0]


def look(broker: RabbitMQ, name: str) -> tuple[int, int]:
    """Ready messages and consumers of a queue, as the queue says now; none of either while there is no such queue."""

    async def ask() -> tuple[int, int]:
        async with closing(await connect(_url(broker), name="a row of the fault suite")) as connection:
            return await depth(connection, name)

    try:
        return asyncio.run(ask())
    except ChassisError:
        return 0, 0


def hold_a_delivery(broker: RabbitMQ, *, within: float) -> float:
    """Take a message of a queue of one's own and never settle it; how many seconds the broker bears it."""

    async def hold() -> float:
        async with closing(await connect(_url(broker), name="a row of the fault suite")) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("held-by-a-row", durable=True, arguments={"x-queue-type": "quorum"})
            taken = asyncio.Event()

            async def keep(_: object) -> None:
                taken.set()

            await queue.consume(keep)
            await channel.default_exchange.publish(Message(b"held"), routing_key=queue.name)
            await asyncio.wait_for(taken.wait(), 10)
            began = asyncio.get_running_loop().time()
            underlay = await channel.get_underlay_channel()
            await asyncio.wait({underlay.closing}, timeout=within)
            assert underlay.is_closed, f"nobody was ended within {within} s"
            return asyncio.get_running_loop().time() - began

    return asyncio.run(hold())
