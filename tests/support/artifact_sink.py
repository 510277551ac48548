"""The API's end of artifact uploads, as the contract says it: `PUT …/artifacts/{name}`, 204."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import unquote
from uuid import UUID

from tests.support.log_sink import LogSink

_REQUEST = re.compile(rb"PUT /api/v1/executions/([0-9a-f-]{36})/artifacts/(\S+) HTTP/1\.1\r\n")


class ArtifactSink(LogSink):
    """Keeps what it is sent, by execution and name; `statuses` says what is answered for a name instead; 0 hangs up."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[tuple[UUID, str], bytes] = {}
        self.statuses: dict[str, int] = {}
        self.order: list[str] = []
        self.asked = asyncio.Event()

    def _take(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        request = _REQUEST.match(head)
        if request is None:
            return super()._take(head, body)
        execution, name = UUID(request[1].decode()), unquote(request[2].decode())
        self.asked.set()
        self.order.append(name)
        status = self.statuses.get(name, 204)
        if status == 0:
            raise ConnectionAbortedError
        if status == 204:
            self.files[execution, name] = body
        return status, b""
