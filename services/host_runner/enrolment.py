"""How a runner comes by its credentials: once with the secret of its enrolment; then it renews what it has."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import Any

import httpx

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from services.host_runner.concurrency import either, pause
from services.host_runner.keys import Keys
from services.host_runner.sending import said

REQUEST_SECONDS = 15.0

log = get_logger(__name__)


class EnrolmentRefusedError(Exception):
    """The API does not know the secret (any more), or the host."""


class _NotNowError(Exception):
    """The API is away, or busy."""


class _OvertakenError(_NotNowError):
    """It was given others meanwhile, or is being given them."""


class Enrolment(Part):
    """Exchanges and renews, with patience. Ends with `EnrolmentRefusedError`: a person must enrol the host again."""

    name = "enrolment"

    def __init__(
        self, keys: Keys, host: str, api_url: str, secret: str | None, verify: ssl.SSLContext | bool = True
    ) -> None:
        """`verify`: who is trusted to be the API, as httpx takes it."""
        super().__init__()
        self._verify = verify
        self._keys = keys
        self._url = f"{api_url.rstrip('/')}/api/v1/hosts/{host}/credentials"
        self._secret = secret
        self._wanted = asyncio.Event()
        self._renewed = asyncio.Event()

    def ask(self) -> None:
        """New credentials are wanted."""
        if self._keys.is_own:
            self._wanted.set()

    async def renewed(self) -> None:
        """Ask, and return when there are new ones."""
        self._renewed.clear()
        self._wanted.set()
        await either(self._renewed, self.stopping)

    async def run(self) -> None:
        """The body."""
        if not self._keys.there.is_set():
            assert self._secret is not None
            await self._take(self._secret)
        elif not self._keys.is_taken:  # an earlier runner died before it could say so
            await self._take(None)
        while not self.stopping.is_set():
            await either(self._wanted, self.stopping)
            if self.stopping.is_set():
                return
            self._wanted.clear()
            await self._take(self._keys.token)
            self._renewed.set()

    async def _take(self, credential: str | None) -> None:
        """Take credentials for this one, and say so; None: say so of those that are here."""
        pauses = delays()
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS, trust_env=False, verify=self._verify) as client:
            while not self.stopping.is_set():
                if credential is not None:
                    answer = await self._patiently(client, self._url, credential)
                    if answer is None:
                        return
                    self._keys.take(answer["token"], answer["amqp_url"])
                credential = self._keys.token
                try:
                    # Only now: what came before ends with it, this runner's own connection to the broker, too.
                    if await self._patiently(client, f"{self._url}/taken", credential, until_overtaken=True) is None:
                        return
                except _OvertakenError as error:
                    log.warning("The host takes new credentials once more", reason=str(error))
                    await pause(next(pauses), self.stopping)
                else:
                    self._keys.taken()
                    log.info("The host has new credentials")
                    return

    async def _patiently(
        self, client: httpx.AsyncClient, url: str, credential: str, *, until_overtaken: bool = False
    ) -> dict[str, Any] | None:
        """The answer, however often it takes; None: we are stopped. Raises `_OvertakenError` if asked to."""
        pauses = delays()
        while not self.stopping.is_set():
            try:
                return await _post(client, url, credential)
            except _NotNowError as error:
                if until_overtaken and isinstance(error, _OvertakenError):
                    raise
                wait = next(pauses)
                log.warning("The API is waited for", by=self.name, reason=str(error), again_in_seconds=wait)
                await pause(wait, self.stopping)
        return None


async def _post(client: httpx.AsyncClient, url: str, credential: str) -> dict[str, Any]:
    try:
        answer = await client.post(url, headers={"Authorization": f"Bearer {credential}"})
    except httpx.TransportError as error:
        raise _NotNowError(said(error)) from error
    # By the API itself: what stands before it may answer anything while it is away.
    is_its_word = answer.headers.get("content-type") == "application/problem+json"
    if is_its_word and answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        raise EnrolmentRefusedError(f"the API refuses this host ({answer.status_code}): {answer.text[:300]}")
    if is_its_word and answer.status_code == HTTPStatus.CONFLICT:
        raise _OvertakenError(answer.text[:300])
    if not answer.is_success:
        raise _NotNowError(f"it answers {answer.status_code}")
    return dict(answer.json()) if answer.content else {}
