"""A broker that hangs: it took the connection and answers nothing more. Nobody waits longer than was said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pamqp import commands, frame
from pamqp.header import ProtocolHeader

from libs.chassis.errors import Transient
from services.api.broker import Broker, Depth

_TABLE: dict[str, Any] = {"capabilities": {}}
_ANSWERS: dict[type, Any] = {
    ProtocolHeader: commands.Connection.Start(server_properties=_TABLE, mechanisms="PLAIN", locales="en_US"),
    commands.Connection.StartOk: commands.Connection.Tune(channel_max=100, frame_max=131072, heartbeat=0),
    commands.Connection.Open: commands.Connection.OpenOk(),
    commands.Connection.Close: commands.Connection.CloseOk(),
    commands.Channel.Open: commands.Channel.OpenOk(),
    commands.Channel.Close: commands.Channel.CloseOk(),
    commands.Queue.Declare: commands.Queue.DeclareOk("any", 3, 1),
}


class _Hanging:
    """As much of a broker as `Broker` asks for; `hangs`: it reads on and says nothing."""

    def __init__(self) -> None:
        self.hangs = False
        self._talks: set[asyncio.Task[None]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        heard = b""
        try:
            while piece := await reader.read(1 << 16):
                heard += piece
                while heard:
                    length, channel, said = frame.unmarshal(heard)
                    heard = heard[length:]
                    reply = _ANSWERS.get(type(said))
                    if reply is not None and not self.hangs:
                        writer.write(frame.marshal(reply, channel))
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    def cut(self) -> None:
        for talk in self._talks:
            talk.cancel()


@asynccontextmanager
async def hanging() -> AsyncIterator[tuple[_Hanging, Broker]]:
    fake = _Hanging()
    server = await asyncio.start_server(fake.answer, "127.0.0.1", 0)
    broker = Broker(f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/", time.monotonic)
    try:
        yield fake, broker
    finally:
        server.close()
        fake.cut()
        await broker.close()
        await server.wait_closed()


async def test_a_broker_that_hangs_holds_nobody_up() -> None:
    async with hanging() as (fake, broker):
        assert await broker.depths(["a", "b"]) == {"a": Depth(3, 1), "b": Depth(3, 1)}
        fake.hangs = True
        began = time.monotonic()
        answers = await asyncio.gather(*(broker.depths_if_there([f"q{number}"]) for number in range(5)))
        # Half a second for the first; closing what does not answer would take ten, and all the others would wait.
        assert time.monotonic() - began < 1.5
        assert answers == [{f"q{number}": None} for number in range(5)]
        with pytest.raises(Transient):
            await broker.depths(["c"])
        assert time.monotonic() - began < 1.5
