"""`/livez`, `/readyz` and `/metrics` for a process that has no web framework.

A server of a page in size: one answer per connection, five seconds for the request, eight kilobytes of it at most.
What it cannot understand it answers with 400 and forgets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from http import HTTPStatus

from libs.chassis.lifecycle import Part
from libs.chassis.metrics import CONTENT_TYPE, exposition

REQUEST_SECONDS = 5.0
REQUEST_BYTES = 8 * 1024

_JSON = "application/json"


class HealthServer(Part):
    """Answers while it is started; `port` 0 takes a free one.

    `/livez` is 200 as long as the loop runs. `/readyz` is 200, or 503 when anything of `ready()` is false; the JSON
    body names what is not ready.
    """

    name = "health"

    def __init__(self, port: int, ready: Callable[[], dict[str, bool]], host: str = "127.0.0.1") -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._checks = ready
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The port that it listens on; before the start, the one that it was given."""
        return self._port

    async def start(self) -> None:
        """Listen. `OSError` if the port is taken."""
        if self._server is None and not self.stopping.is_set():
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=REQUEST_BYTES)
            self._port = self._server.sockets[0].getsockname()[1]
        await super().start()

    async def run(self) -> None:
        """Wait for the end; the connections serve themselves."""
        try:
            await self.stopping.wait()
        finally:
            if self._server is not None:
                self._server.close()
            for writer in tuple(self._open):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                method, path = await _request(reader)
                writer.write(self._answer(method, path))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, method: str, path: str) -> bytes:
        if not method:
            return _response(HTTPStatus.BAD_REQUEST, _JSON, b'{"error": "this is not an HTTP request"}')
        if method not in {"GET", "HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, _JSON, b'{"error": "only GET and HEAD"}')
        match path.partition("?")[0]:
            case "/livez":
                answer = HTTPStatus.OK, _JSON, b'{"live": true}'
            case "/readyz":
                checks = self._checks()
                missing = sorted(name for name, is_ready in checks.items() if not is_ready)
                body = json.dumps({"ready": not missing, "not_ready": missing, "checks": checks}).encode()
                answer = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK, _JSON, body
            case "/metrics":
                answer = HTTPStatus.OK, CONTENT_TYPE, exposition()
            case _:
                answer = HTTPStatus.NOT_FOUND, _JSON, b'{"error": "here are /livez, /readyz and /metrics"}'
        return _response(*answer, head=method == "HEAD")


async def _request(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Method and path; two empty strings for what is no HTTP request."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "", ""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1]


def _response(status: HTTPStatus, content_type: str, body: bytes, *, head: bool = False) -> bytes:
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head else body)
