"""A limit of the request's body, checked before and while it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20


class BodyLimit:
    """Ends reading with 413 once the body is known to be over the limit; the framework's own answers in plain text.

    `streamed` are the paths, whole, that hold bodies of another limit, in bytes: those that nobody keeps in memory.
    """

    def __init__(
        self, app: ASGIApp, most_bytes: int = MOST_BYTES, streamed: Mapping[re.Pattern[str], int] | None = None
    ) -> None:
        self._app = app
        self._most = most_bytes
        self._streamed = dict(streamed or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        seen = int(announced) if announced.isdecimal() else 0
        most = next((most for path, most in self._streamed.items() if path.fullmatch(scope["path"])), self._most)
        too_large = HTTPException(413, f"A body may have {most} bytes")
        read = 0

        async def limited() -> Message:
            nonlocal read
            if seen > most:
                raise too_large
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise too_large
            return message

        await self._app(scope, limited, send)
