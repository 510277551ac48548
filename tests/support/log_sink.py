"""The API's end of log uploads, as the contract says it: `PUT …/log?offset=N`, 204, or 409 `{"have": N}` on a gap."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from uuid import UUID

from libs.stack.ports import free_port

TOKEN = "the host's token"
_REQUEST = re.compile(rb"PUT /api/v1/executions/([0-9a-f-]{36})/log\?offset=(\d+) HTTP/1\.1\r\n")


class LogSink:
    """Keeps what it is sent. `answer` replaces the status for an execution; `refusals` counts wrong tokens."""

    def __init__(self) -> None:
        self.logs: defaultdict[UUID, bytearray] = defaultdict(bytearray)
        self.answers: dict[UUID, int] = {}
        self.requests = 0
        self.refusals = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        # Not one of those that clients are given: it could be theirs when this comes back.
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Go away, with every connection; `start` comes back on the same port."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._open):
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                status, answer = self._take(head, body)
                lines = f"HTTP/1.1 {status} -\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(lines.encode() + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    def _take(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        self.requests += 1
        request = _REQUEST.match(head)
        if request is None:
            return 400, b""
        if f"authorization: bearer {TOKEN}".encode() not in head.replace(b"Bearer", b"bearer").replace(
            b"Auth", b"auth"
        ):
            self.refusals += 1
            return 401, b""
        execution, offset = UUID(request[1].decode()), int(request[2])
        if execution in self.answers:
            return self.answers[execution], b""
        log = self.logs[execution]
        if offset > len(log):
            return 409, json.dumps({"have": len(log)}).encode()
        log[offset : offset + len(body)] = body
        return 204, b""
