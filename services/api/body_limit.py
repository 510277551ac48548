"""Limits of the request's body, its size and its slowness, checked before and while it is read.

A body that drips in keeps a connection, and some memory, for as long as it likes; and most routes read theirs before
they know who asks. So whoever sends has `PATIENCE_SECONDS`, and a second more for each `LEAST_BYTES_A_SECOND` that came
(as Apache's mod_reqtimeout has it). How slowly the header may come is for the proxy in front to say.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.problems import ProblemError, response_of
from services.api.shapes.problem import Kind

MOST_BYTES = 1 << 20
PATIENCE_SECONDS = 30.0
LEAST_BYTES_A_SECOND = 1 << 12

_LAST = {"Connection": "close"}


class BodyLimit:
    """Ends reading with 413 once the body is known to be over the limit, and with 408 once it is too slow.

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
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "")
        if announced and "transfer-encoding" in headers:
            # A proxy in front may believe the other one of the two, and take our next request from within this body.
            two_ends = ProblemError(Kind.MALFORMED, "Send a length or chunks, not both", headers=_LAST)
            await response_of(two_ends, scope["path"])(scope, receive, send)
            return
        seen = int(announced) if announced.isdecimal() else 0
        most = next((most for path, most in self._streamed.items() if path.fullmatch(scope["path"])), self._most)
        too_large = HTTPException(413, f"A body may have {most} bytes")
        read, is_whole = 0, False
        waited = 0.0  # for the sender; what we do with a piece meanwhile is not his slowness

        async def limited() -> Message:
            nonlocal read, is_whole, waited
            if seen > most:
                raise too_large
            if is_whole:
                return await receive()  # that the client leaves, and that may take hours
            begun = time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), PATIENCE_SECONDS + read / LEAST_BYTES_A_SECOND - waited)
            except TimeoutError:
                # The rest is not waited for, not even to be thrown away.
                raise HTTPException(408, "The body came too slowly", _LAST) from None
            waited += time.monotonic() - begun
            read += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if read > most:
                raise too_large
            return message

        await self._app(scope, limited, send)
