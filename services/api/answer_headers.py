"""What every answer says to a browser: take it for what it is called, and let no other page show or load it.

The API answers with data. Whoever opens it in a browser, or makes a browser load it from another page, gets nothing
that runs, and no frame to hide it in. What a route sets itself stays: artifacts may be pages, and have their own rules.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGE = "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_DATA = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # It is asked of what <img> and <script> load: another origin's page does not even get it into its memory.
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = "Content-Security-Policy"


class AnswerHeaders:
    """Adds what a route has not set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, guarded)


def complete(headers: MutableHeaders) -> None:
    """Add what is missing; a page (the description for people) may run its own scripts."""
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    is_page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault(_POLICY, _PAGE if is_page else _DATA)
