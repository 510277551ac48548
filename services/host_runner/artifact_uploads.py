"""The files of ended runs to the API: each of them once it is chosen, until it has all of them.

What is chosen and not sent yet is in the journal, so a restart goes on; a file that was sent twice is the same file.
When all are sent, the run's folder is removed. While the API is away the files wait.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from uuid import UUID

import httpx

from libs.chassis.logs import get_logger
from libs.chassis.metrics import counter
from libs.contracts.artifacts import LEFT_OUT
from services.host_runner.artifact_book import ArtifactBook, Folder, Waiting
from services.host_runner.artifact_folder import look, open_file
from services.host_runner.core.artifact_choice import choose
from services.host_runner.keys import Keys
from services.host_runner.removal import remove
from services.host_runner.sending import ApiAwayError, NotNowError, Sending, said

AT_ONCE = 50
"""Folders of one turn."""
PIECE_BYTES = 256 << 10
REQUEST_SECONDS = 60.0
"""For one step of a request; the API answers once its object store has the file."""

SENT = counter("host_artifacts_sent", "Files of scripts that the API has taken")
GIVEN_UP = counter("host_artifacts_given_up", "Files of scripts that the API refused, or that could not be read")

log = get_logger(__name__)


class ShrunkError(Exception):
    """The file became shorter while it was read: somebody outside of its run writes to it."""


class ArtifactUploads(Sending):
    """Sends what the API does not have, for as long as the process lives."""

    name = "artifacts"
    request_seconds = REQUEST_SECONDS

    def __init__(
        self,
        book: ArtifactBook,
        folder: Path,
        api_url: str,
        keys: Keys,
        verify: ssl.SSLContext | bool = True,
        *,
        owner: int | None = None,
    ) -> None:
        """`owner`: the number of the user that scripts run as, if that is not the runner's own."""
        super().__init__(api_url, keys, verify)
        self._owner = owner
        self._book = book
        self._folder = folder

    async def _turn(self, client: httpx.AsyncClient) -> bool:
        """Send some folders; whether there are surely more."""
        folders = self._book.folders(AT_ONCE)
        refusal: NotNowError | None = None
        for folder in folders:
            if self.stopping.is_set():
                return False
            try:
                await self._send(client, folder)
            except NotNowError as error:
                refusal = error  # one that it cannot take now must not keep the others back
        if refusal is not None:
            raise refusal
        return len(folders) == AT_ONCE

    async def _send(self, client: httpx.AsyncClient, folder: Folder) -> None:
        execution = folder.execution_id
        place = self._folder / str(execution)
        if not folder.is_planned:
            await self._plan(execution, place)
        for waiting in self._book.waiting(execution):
            if self.stopping.is_set():
                return
            try:
                is_taken = await self._put(client, execution, place, waiting)
            except (OSError, ShrunkError) as error:
                is_taken = False
                log.warning(
                    "An artifact cannot be read", execution_id=str(execution), file=waiting.name, reason=str(error)
                )
            (SENT if is_taken else GIVEN_UP).inc()
            self._book.sent(execution, waiting.position)
        await asyncio.to_thread(remove, place)
        self._book.done(execution)

    async def _plan(self, execution: UUID, place: Path) -> None:
        found, more = await asyncio.to_thread(look, place, owner=self._owner)
        choice = choose(found, more=more)
        if choice.left_out:
            log.warning("Some artifacts are not sent", execution_id=str(execution), listed_in=LEFT_OUT)
        extra = [(LEFT_OUT, choice.left_out)] if choice.left_out else []
        if choice.files or extra:
            self._book.plan(execution, [one.name for one in choice.files], extra)

    async def _put(self, client: httpx.AsyncClient, execution: UUID, place: Path, waiting: Waiting) -> bool:
        """Whether the API took it; False if it never will. Raises `ApiAwayError`, `NotNowError`, `OSError`."""
        url = f"{self._url}/api/v1/executions/{execution}/artifacts/{quote(waiting.name)}"
        try:
            if waiting.content is not None:
                answer = await client.put(url, content=waiting.content.encode())
            else:
                file, size = open_file(place, waiting.name, self._owner)
                with file:
                    headers = {"Content-Length": str(size)}
                    answer = await client.put(url, content=_pieces(file, size), headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ApiAwayError(said(error)) from error
        except httpx.TransportError as error:
            # Perhaps only with this file: one that takes too long, or ends its worker, must not keep the others back.
            raise NotNowError(said(error)) from error
        match answer.status_code:
            case HTTPStatus.NO_CONTENT | HTTPStatus.OK | HTTPStatus.CREATED:
                return True
            case (
                HTTPStatus.UNAUTHORIZED
                | HTTPStatus.REQUEST_TIMEOUT
                | HTTPStatus.TOO_MANY_REQUESTS
                | HTTPStatus.CONFLICT
            ):
                raise NotNowError(f"it answers {answer.status_code}")
            case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise NotNowError(f"it answers {status}")
            case status:
                log.error(
                    "The API does not take an artifact", execution_id=str(execution), file=waiting.name, status=status
                )
                return False


async def _pieces(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    """Exactly `size` bytes: the answer's length is said before."""
    left = size
    while left:
        piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, left))
        if not piece:
            raise ShrunkError(f"it has {left} bytes less than before")
        left -= len(piece)
        yield piece
