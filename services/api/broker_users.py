"""The broker's users of hosts, over RabbitMQ's management API: made, given their permissions, taken away.

Each call says the whole, so that a repeat does nothing. A user that is taken away loses its connections at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from libs.chassis.errors import Refused, Transient
from libs.chassis.tls import http_context, in_words
from services.api.core.broker_access import HASHING, host_of, permissions_of, user_of

REQUEST_SECONDS = 5.0
AGAIN_SECONDS = 0.2


class ManagementAway(Transient):
    """RabbitMQ's management API does not answer."""


class BrokerUsers:
    """The users of one virtual host, as `url` (`http://user:password@host:port`) lets us change them."""

    def __init__(self, url: str, amqp_url: str, *, ca_file: str | None = None) -> None:
        """`ca_file`: who is trusted when the url is `https`; the system's authorities unless given."""
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/api"
        self._auth = httpx.BasicAuth(unquote(parts.username or ""), unquote(parts.password or ""))
        self._verify = http_context(url, ca_file)
        self._virtual_host = quote(unquote(urlsplit(amqp_url).path.removeprefix("/")) or "/", safe="")

    async def put(self, host: str, password_hash: str) -> None:
        """Let the host's user be there with this password and exactly its permissions.

        Raises `ManagementAway`, or `Refused` when it is not for us to change users.
        """
        user, may = quote(user_of(host), safe=""), permissions_of(host)
        async with self._client() as client:
            await _put(client, f"users/{user}", password_hash=password_hash, hashing_algorithm=HASHING, tags="")
            for exchange, keys in may.topics.items():
                # Before the permission to write at all: there is no moment in which every key is free.
                path = f"topic-permissions/{self._virtual_host}/{user}"
                await _put(client, path, exchange=exchange, write=keys, read="^$")
            path = f"permissions/{self._virtual_host}/{user}"
            await _put(client, path, configure=may.configure, write=may.write, read=may.read)

    async def require(self) -> None:
        """Raises as `put` does, if there is nobody who would make a user now."""
        async with self._client() as client:
            await _ask(client, "GET", "whoami")

    async def drop(self, host: str) -> None:
        """Take the host's user away, and its connections with it. Raises as `put` does."""
        user = quote(user_of(host), safe="")
        async with self._client() as client:
            await _ask(client, "DELETE", f"users/{user}", HTTPStatus.NOT_FOUND)
            await self._close(client, user)

    async def close_connections(self, host: str) -> None:
        """End what was opened with a former password. Raises as `put` does."""
        async with self._client() as client:
            await self._close(client, quote(user_of(host), safe=""))

    async def hosts(self) -> set[str]:
        """The hosts that have a user with permissions here. Raises as `put` does.

        Users of another virtual host may be another installation's: not ours to take away.
        """
        async with self._client() as client:
            users = (await _ask(client, "GET", f"vhosts/{self._virtual_host}/permissions")).json()
        return {host for user in users if (host := host_of(user["user"])) is not None}

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._base,
            auth=self._auth,
            timeout=REQUEST_SECONDS,
            trust_env=False,
            follow_redirects=False,
            verify=self._verify,
        )

    async def _close(self, client: httpx.AsyncClient, user: str) -> None:
        # RabbitMQ answers 500 when one of them goes away by itself meanwhile, and leaves the others.
        for again in (True, True, False):
            try:
                await _ask(client, "DELETE", f"connections/username/{user}", HTTPStatus.NOT_FOUND)
            except ManagementAway:
                if not again:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


async def _put(client: httpx.AsyncClient, path: str, **body: str) -> None:
    await _ask(client, "PUT", path, body=body)


async def _ask(
    client: httpx.AsyncClient, method: str, path: str, *also_fine: HTTPStatus, body: Mapping[str, Any] | None = None
) -> httpx.Response:
    try:
        answer = await client.request(method, path, json=body)
    except httpx.TransportError as error:
        why = in_words(error) or f"{type(error).__name__}: {error}"
        raise ManagementAway(f"the broker's management does not answer: {why}") from error
    if answer.is_success or answer.status_code in also_fine:
        return answer
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ManagementAway(f"the broker's management answers {answer.status_code}")
    raise Refused(f"the broker's management refuses {method} {path}: {answer.status_code} {answer.text[:200]}")
