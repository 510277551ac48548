"""A real HTTP server that answers what a test tells it, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class CannedApi:
    """`answers` by `METHOD /path?query`: (status, content type, body), used in turn, the last one for ever."""

    url: str
    answers: dict[str, list[tuple[int, str, bytes]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, what: str, status: int, body: object, kind: str = "application/json") -> None:
        """One more answer for this request."""
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.answers.setdefault(what, []).append((status, kind, content))


@contextmanager
def canned_api() -> Iterator[CannedApi]:
    """Serve on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            body = json.loads(content) if content else None
            api.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            prepared = api.answers.get(f"{self.command} {self.path}")
            if not prepared:
                prepared = [(404, "text/html", b"<h1>nothing was prepared</h1>")]
            status, kind, answer = prepared.pop(0) if len(prepared) > 1 else prepared[0]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the server's own names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = CannedApi(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="canned-api")
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
