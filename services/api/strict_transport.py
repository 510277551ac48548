"""Browsers that came over TLS once are told to come by nothing else for a year (RFC 6797)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = (b"strict-transport-security", b"max-age=31536000")


class StrictTransport:
    """Adds the header to answers over TLS: ours, or the one that a trusted proxy ends and tells of."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["scheme"] != "https":
            await self._app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _HEADER]
            await send(message)

        await self._app(scope, receive, telling)
