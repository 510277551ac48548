"""The few pages that the API answers by itself: signing in with a link, and what there is at `/`.

No script, nothing from elsewhere, in nobody's frame. All that is filled in is escaped.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape

from fastapi.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color:#222;background:#fff}"
    "button{font:inherit;padding:.5em 1.5em}"
    ".wide{max-width:70em;margin:4vh auto}summary{cursor:pointer}details{margin:.3em 0}"
    "pre{overflow:auto;font-size:13px}td{padding:0 1em 0 0;vertical-align:top}"
)
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with that a browser sends the form's Origin as null, as if it were another site's.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def sign_in_page(code: str) -> HTMLResponse:
    """One button. To look at the link, as previews of messages do, spends nothing."""
    return _page(
        "Sign in to Rigbeat",
        '<form method="post" action="/sign-in">'
        f'<input type="hidden" name="code" value="{escape(code, quote=True)}"><button autofocus>Sign in</button></form>'
        "<p>This link works once. It gives this browser the rights of the token that it was made with.</p>",
    )


def refused_page(status: int, sentence: str, headers: dict[str, str]) -> HTMLResponse:
    """Why one is not signed in."""
    return _page("Not signed in", f"<p>{escape(sentence)}</p>", status, headers)


def home_page(name: str | None, role: str | None) -> HTMLResponse:
    """Who is signed in, and where the API is described."""
    who = (
        "<p>Nobody is signed in here. The command <code>rigbeat login-link</code> prints a link that signs in.</p>"
        if name is None
        else f"<p>You are signed in as <b>{escape(name)}</b>, with the role {escape(role or '')}.</p>"
    )
    return _page("Rigbeat", f'{who}<p>The API is described at <a href="/docs">/docs</a>.</p>')


def reference_page(content: str) -> HTMLResponse:
    """The API for people; `content` is `core.reference`'s HTML."""
    return _page("Rigbeat's API", content, wide=True)


def _page(
    title: str, content: str, status: int = 200, headers: dict[str, str] | None = None, *, wide: bool = False
) -> HTMLResponse:
    body = "<body class=wide>" if wide else "<body>"
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>{body}<h1>{escape(title)}</h1>{content}</body></html>",
        status,
        HEADERS | (headers or {}),
    )
