"""Sending to the API in turns, for as long as the process lives: what logs and artifacts have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import ClassVar

import httpx

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from services.host_runner.concurrency import pause

EVERY_SECONDS = 0.5

log = get_logger(__name__)
# It says every request in a line; two a second are no news.
logging.getLogger("httpx").setLevel(logging.WARNING)


class ApiAwayError(Exception):
    """The API cannot be reached."""


class NotNowError(Exception):
    """The API did not take something for a reason that may pass."""


class Sending(Part):
    """Takes turns with one client; while the API is away, or does not take it, later and later ones.

    `request_seconds` is the limit of each step of a request.
    """

    request_seconds: ClassVar[float]

    def __init__(self, api_url: str, token: str) -> None:
        super().__init__()
        self._url = api_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}

    async def run(self) -> None:
        """The body."""
        pauses = delays()
        async with httpx.AsyncClient(headers=self._headers, timeout=self.request_seconds) as client:
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
