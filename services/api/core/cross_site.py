"""What keeps another site from using a browser's cookie: where a request comes from, and a word that only we can tell.

Requests that change nothing need neither: the answer cannot be read from elsewhere, and the cookie is SameSite=Strict.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_PURPOSE = b"rigbeat: a change that this session asks for"


def word_of(cookie: str) -> str:
    """What must come in `X-CSRF-Token` with this cookie: bound to it, and telling nothing of it."""
    return urlsafe_b64encode(hmac.digest(cookie.encode(), _PURPOSE, hashlib.sha256)).decode().rstrip("=")


def is_word_of(cookie: str, word: str | None) -> bool:
    """Whether this word belongs to the cookie; takes the same time whatever it is."""
    return word is not None and hmac.compare_digest(word.encode(), word_of(cookie).encode())


def comes_from_elsewhere(own: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a browser says that another site sent this. `own`: our origin, such as `https://rigbeat.lab`.

    `Origin` and `Sec-Fetch-Site` are set by the browser, never by a page's script; each that is there must agree.
    """
    return (origin is not None and origin.lower() != own.lower()) or (
        fetch_site is not None and fetch_site.lower() != "same-origin"
    )


def is_ours(own: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether the browser says that we sent this: at least one of the two is there, and none disagrees."""
    return not (origin is None and fetch_site is None) and not comes_from_elsewhere(own, origin, fetch_site)
