"""The keys of the issuer that people's tokens come from: fetched when they are needed, kept while they are fresh.

An issuer that is away shuts nobody out whose key was seen before: its last keys stay good until it answers again, and
the log says so. Only who never had any keys cannot tell, and says that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from libs.chassis import metrics
from libs.chassis.logs import get_logger
from libs.chassis.tls import client_context
from services.api.core.issuer_keys import Header, Key, KeysError, key_for, keys_of
from services.api.problems import ProblemError
from services.api.shapes.problem import Kind

log = get_logger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
FRESH_SECONDS = 600.0
"""Older keys are fetched anew: one that the issuer took back is good here for so long at most, while it answers."""
ASK_AGAIN_SECONDS = 30.0
"""The issuer is not asked more often, whatever keys tokens name and however it fails."""
CONNECT_SECONDS, WHOLE_SECONDS = 3.0, 5.0
MOST_BYTES = 512 * 1024

_FETCHES = metrics.counter("issuer_fetches", "Times the issuer was asked for its keys", ["outcome"])


class FetchError(Exception):
    """The issuer did not answer as it should; says what it did."""


class IssuerKeys:
    """One for each web worker. `clock` gives monotonic seconds."""

    def __init__(
        self, issuer: str, jwks_url: str | None, clock: Callable[[], float], ca_file: str | None = None
    ) -> None:
        """`ca_file`: who is trusted to be the issuer; the system's authorities unless given."""
        self._issuer = issuer
        self._trusted = client_context(ca_file)
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._fetched_at = self._asked_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def key(self, header: Header) -> Key | None:
        """The key that a token names, None when the issuer has none like it.

        Raises the problem `unavailable` when there were never any keys.
        """
        if self._clock() - self._fetched_at >= FRESH_SECONDS or key_for(header, self._keys) is None:
            await self._fetch(header)
        if not self._keys:
            raise ProblemError(
                Kind.UNAVAILABLE,
                "The issuer of the token is away, and its keys were never seen",
                headers={"Retry-After": str(round(ASK_AGAIN_SECONDS))},
            )
        return key_for(header, self._keys)

    async def _fetch(self, header: Header) -> None:
        async with self._fetching:
            # Whoever waited for somebody else's look has its outcome now.
            is_stale = self._clock() - self._fetched_at >= FRESH_SECONDS
            is_needed = is_stale or key_for(header, self._keys) is None
            if not is_needed or self._clock() - self._asked_at < ASK_AGAIN_SECONDS:
                return
            self._asked_at = self._clock()
            try:
                self._keys = await self._published()
            except (FetchError, KeysError) as error:
                _FETCHES.labels("failed").inc()
                log.warning("The issuer gives no keys", issuer=self._issuer, reason=str(error), kept=len(self._keys))
                return
            self._fetched_at = self._asked_at
            _FETCHES.labels("fetched").inc()
            log.info("The issuer's keys are here", issuer=self._issuer, keys=len(self._keys))

    async def _published(self) -> tuple[Key, ...]:
        # Nothing of the environment's proxies. A redirect is an error.
        async with httpx.AsyncClient(
            verify=self._trusted,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(WHOLE_SECONDS, connect=CONNECT_SECONDS),
        ) as client:
            try:
                async with asyncio.timeout(WHOLE_SECONDS):
                    url = self._jwks_url or await self._discovered(client)
                    return keys_of(await _document(client, url))
            except TimeoutError:
                raise FetchError(f"no answer within {WHOLE_SECONDS:.0f} s") from None

    async def _discovered(self, client: httpx.AsyncClient) -> str:
        found = await _document(client, self._issuer.rstrip("/") + DISCOVERY)
        if not isinstance(found, dict) or found.get("issuer") != self._issuer:
            raise FetchError("its configuration is that of another issuer")
        url = found.get("jwks_uri")
        if not isinstance(url, str) or not is_safe(url):
            raise FetchError("its configuration names no https address of its keys")
        return url


def is_safe(url: str) -> bool:
    """Whether what comes from this address comes from who it says: https, or a server on this machine."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _document(client: httpx.AsyncClient, url: str) -> Any:
    content = bytearray()
    try:
        async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise FetchError(f"{url} answers {answer.status_code}")
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise FetchError(f"{url} answers more than {MOST_BYTES} bytes")
    except httpx.HTTPError as error:
        raise FetchError(f"{url}: {type(error).__name__} {error}") from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise FetchError(f"{url} does not answer JSON") from None
