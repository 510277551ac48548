"""Who is told to stop stops, whatever the library below makes of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import aiormq.exceptions as amqp
import pytest
from aio_pika.abc import AbstractConnection
from aiormq.abc import TaskWrapper

from libs.chassis.amqp import connection as chassis
from libs.chassis.amqp.channel import translated
from libs.chassis.errors import ConnectionLost
from tests.support.wait import turns_of_the_loop


async def _ask(answer: TaskWrapper) -> None:
    with translated("opening a channel"):
        await answer


def _closed() -> amqp.ConnectionClosed:
    return amqp.ConnectionClosed(320, "CONNECTION_FORCED - shutdown")


async def _asked() -> tuple[asyncio.Task[None], TaskWrapper]:
    answer = TaskWrapper(asyncio.create_task(asyncio.Event().wait()))
    asking = asyncio.create_task(_ask(answer))
    await turns_of_the_loop(1)
    return asking, answer


async def test_a_connection_that_closes_is_lost() -> None:
    asking, answer = await _asked()
    answer.throw(_closed())
    with pytest.raises(ConnectionLost, match="opening a channel: 320 CONNECTION_FORCED"):
        await asking


async def test_a_cancellation_while_the_connection_closes_is_a_cancellation() -> None:
    asking, answer = await _asked()
    answer.throw(_closed())
    asking.cancel()
    await asyncio.wait({asking}, timeout=5)
    assert asking.cancelled()


async def test_a_deadline_while_the_connection_closes_is_a_deadline() -> None:
    answer = TaskWrapper(asyncio.create_task(asyncio.Event().wait()))

    async def in_time() -> None:
        async with asyncio.timeout(0):
            answer.throw(_closed())
            await _ask(answer)

    with pytest.raises(TimeoutError):
        await in_time()


async def test_a_body_that_takes_a_cancellation_for_itself_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chassis, "STUBBORN_SECONDS", 0.05)
    closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    transport = SimpleNamespace(connection=SimpleNamespace(closing=closing))
    taken = 0

    async def body(_: AbstractConnection) -> None:
        nonlocal taken
        while taken < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                taken += 1
        await asyncio.Event().wait()

    closing.set_exception(_closed())
    with pytest.raises(ConnectionLost, match="320 CONNECTION_FORCED"):
        async with asyncio.timeout(5):
            await chassis._attend(cast("AbstractConnection", SimpleNamespace(transport=transport)), body)
    assert taken == 2
