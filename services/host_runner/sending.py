"""Sending to the API in turns, for as long as the process lives: what logs and artifacts have in common."""

from __future__ import annotations

import logging
import ssl
from abc import abstractmethod
from typing import ClassVar

import httpx

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.chassis.tls import in_words
from services.host_runner.concurrency import either, pause
from services.host_runner.keys import Keys

EVERY_SECONDS = 0.5

log = get_logger(__name__)
# It says every request in a line; two a second are no news.
logging.getLogger("httpx").setLevel(logging.WARNING)


class ApiAwayError(Exception):
    """The API cannot be reached."""


class NotNowError(Exception):
    """The API did not take something for a reason that may pass."""


def said(error: httpx.TransportError) -> str:
    """Why a request did not come through, in a line."""
    return in_words(error) or f"{type(error).__name__}: {error}"


class Sending(Part):
    """Takes turns with one client; while the API is away, or does not take it, later and later ones.

    `request_seconds` is the limit of each step of a request; `verify`: who is trusted to be the API, as httpx takes it.
    """

    request_seconds: ClassVar[float]

    def __init__(self, api_url: str, keys: Keys, verify: ssl.SSLContext | bool = True) -> None:
        super().__init__()
        self._verify = verify
        self._url = api_url.rstrip("/")
        self._keys = keys

    async def run(self) -> None:
        """The body."""
        pauses = delays()
        await either(self._keys.there, self.stopping)
        headers = {"Content-Type": "application/octet-stream"}
        # No proxy of the environment: the token would go there, in the clear.
        async with httpx.AsyncClient(
            headers=headers, auth=self._keys, timeout=self.request_seconds, verify=self._verify, trust_env=False
        ) as client:
            while not self.stopping.is_set():
                wait = EVERY_SECONDS
                try:
                    if await self._turn(client):
                        wait = 0.0
                    pauses = delays()
                except (ApiAwayError, NotNowError) as error:
                    wait = max(next(pauses), EVERY_SECONDS)
                    log.warning("The API is waited for", by=self.name, reason=str(error), again_in_seconds=wait)
                await pause(wait, self.stopping)

    @abstractmethod
    async def _turn(self, client: httpx.AsyncClient) -> bool:
        """Send some; whether there is more to send at once. Raises `ApiAwayError`, `NotNowError`."""
