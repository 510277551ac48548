"""A wire to a server that can be cut: then connections break and new ones are refused, as when the server is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from libs.stack.ports import free_port


class Wire:
    """Forwards a port of its own to another one on this machine."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        """Forward, on the same port as before."""
        # Not one of those that clients are given: it could be theirs when this comes back.
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Break what is open and refuse what comes. Boring when it is cut."""
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._open |= {writer, back}
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            for each in (writer, back):
                self._open.discard(each)
                each.close()
                with suppress(OSError):
                    await each.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    sink.close()
