"""The session's cookie: how it is named, given, taken back, and what else a change must bring that comes with it.

`__Host-` and `Secure` where people reach us over TLS: then no other site of the domain and nobody on the way can set or
read it. Without TLS (a laptop's loopback) a browser refuses both, so the name is another, and only that one is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request, Response

from services.api.core.cross_site import SAFE_METHODS, comes_from_elsewhere, is_ours, is_word_of
from services.api.problems import ProblemError
from services.api.shapes.problem import Kind

OVER_TLS = "__Host-rigbeat"
WITHOUT_TLS = "rigbeat"
WORD_HEADER = "X-CSRF-Token"


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How long a session lasts at most, and unused; where people's browsers find us, when a proxy hides it."""

    lasts: timedelta
    idle: timedelta
    public_url: str | None

    @property
    def public_origin(self) -> str | None:
        """As a browser writes it: without the port that goes without saying."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        usual = {"https": 443, "http": 80}[parts.scheme]
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}" + ("" if parts.port in {None, usual} else f":{parts.port}")


def rules(request: Request) -> SessionRules:
    """The ones of this application."""
    found: SessionRules = request.app.state.session_rules
    return found


def own_origin(request: Request) -> str:
    """Where the browser found us: what the settings say, else what it asked for."""
    return rules(request).public_origin or f"{request.url.scheme}://{request.headers.get('host', '')}"


def presented(request: Request) -> str | None:
    """The cookie that came along."""
    return request.cookies.get(_name(request)) or None


def hand_over(request: Request, response: Response, cookie: str, lasts: timedelta) -> None:
    """Let the browser keep it for so long."""
    response.set_cookie(
        _name(request),
        cookie,
        max_age=int(lasts.total_seconds()),
        path="/",
        secure=_is_over_tls(request),
        httponly=True,
        samesite="strict",
    )


def take_back(request: Request, response: Response) -> None:
    """Let the browser forget it."""
    response.delete_cookie(_name(request), path="/", secure=_is_over_tls(request), httponly=True, samesite="strict")


def require_own_page(request: Request, cookie: str) -> None:
    """Raises `forbidden` for a change that a page of ours did not ask for: a cookie comes along by itself."""
    if request.method in SAFE_METHODS:
        return
    if not is_ours(own_origin(request), request.headers.get("origin"), request.headers.get("sec-fetch-site")):
        raise ProblemError(Kind.FORBIDDEN, "A change that comes with a cookie must come from a page of this server")
    if not is_word_of(cookie, request.headers.get(WORD_HEADER)):
        raise ProblemError(
            Kind.FORBIDDEN,
            f"A change that comes with a cookie needs the header {WORD_HEADER}, as GET /session gives it",
        )


def require_not_elsewhere(request: Request) -> None:
    """Raises `forbidden` for a sign-in that another site sends: it would make somebody act as who he is not."""
    if comes_from_elsewhere(own_origin(request), request.headers.get("origin"), request.headers.get("sec-fetch-site")):
        raise ProblemError(Kind.FORBIDDEN, "One signs in from a page of this server, not from another site")


def _is_over_tls(request: Request) -> bool:
    return own_origin(request).startswith("https:")


def _name(request: Request) -> str:
    return OVER_TLS if _is_over_tls(request) else WITHOUT_TLS
