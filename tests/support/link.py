"""Links that can be cut: a loopback port that leads to a server, and what a network does to those who use it.

All links of a process live in one thread. What a link does changes for the connections that there are, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any

from libs.stack.ports import LOOPBACK, free_port
from tests.support.wait import until_after_async

_PIECE = 16384
_LOOK_SECONDS = 0.05


class State(Enum):
    """What the network does."""

    WHOLE = auto()
    CUT = auto()
    """New connections are broken off at once, those that there are were closed."""
    HALF_OPEN = auto()
    """Nothing arrives any more, in either direction, and nobody is told."""
    SLOW = auto()
    """A thousand bytes a second in each direction."""


class Links:
    """The thread of the links."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[Link] = []

    def to(self, port: int) -> Link:
        """A new link to this port of the loopback interface."""
        link = Link(self, port)
        self._links.append(link)
        self.do(link.open())
        return link

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """In the links' thread; returns when it is done."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        """All of them, and the thread."""
        for link in self._links:
            self.do(link.close())
        self.do(_end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _end_all() -> None:
    """Cancel whatever this loop still does, and wait for it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Link:
    """`port` is where its users connect."""

    def __init__(self, links: Links, target: int) -> None:
        self.port = free_port()
        self.state = State.WHOLE
        self._links = links
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Close all connections, refuse new ones."""
        self.state = State.CUT
        self._links.do(self._drop(reset=False))

    def reset(self) -> None:
        """End all connections as a router does that was restarted (RST); new ones work."""
        self._links.do(self._drop(reset=True))

    def half_open(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self.state = State.HALF_OPEN

    def slow(self) -> None:
        """From now on a thousand bytes a second in each direction."""
        self.state = State.SLOW

    def mend(self) -> None:
        """As new; what was half open is closed, since its bytes are lost."""
        was, self.state = self.state, State.WHOLE
        if was is State.HALF_OPEN:
            self._links.do(self._drop(reset=True))

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        await self._drop(reset=True)
        for task in tuple(self._tasks):
            task.cancel()

    async def _drop(self, *, reset: bool) -> None:
        for writer in tuple(self._writers):
            connection = writer.get_extra_info("socket")
            if reset and connection is not None:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state is State.CUT:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        ways = [
            asyncio.create_task(self._carry(reader, far_writer)),
            asyncio.create_task(self._carry(far_reader, writer)),
        ]
        self._tasks |= set(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ways:
                one.cancel()
            self._tasks -= set(ways)
            self._writers -= {writer, far_writer}
            for one_end in (writer, far_writer):
                one_end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                while self.state is State.HALF_OPEN:  # set from another thread
                    await until_after_async(_LOOK_SECONDS)
                if self.state is State.SLOW:
                    await self._carry_slowly(piece, writer)
                else:
                    writer.write(piece)
                    await writer.drain()

    async def _carry_slowly(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        step = int(1000 * _LOOK_SECONDS)
        for at in range(0, len(piece), step):
            if self.state is State.SLOW:
                await until_after_async(_LOOK_SECONDS)
            writer.write(piece[at : at + step])
            await writer.drain()
