"""Connecting to what is no broker."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import uvloop

from libs.chassis.amqp.connection import connect
from libs.chassis.errors import ConnectionLost


@pytest.fixture
def port() -> Iterator[int]:
    """Of one that accepts every connection and closes it at once: a proxy whose broker is away."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def close_each() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.close()

        thread = threading.Thread(target=close_each)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_proxy_without_a_broker_is_a_broker_that_is_away(
    port: int, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Whenever it notices the end, before or after the first byte: it is one to try again, and ends nobody."""

    async def try_often() -> None:
        for _ in range(50):
            with pytest.raises(ConnectionLost, match="no broker for test"):
                await connect(f"amqp://guest:guest@127.0.0.1:{port}/", name="test")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(try_often())
