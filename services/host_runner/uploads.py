"""Logs to the API: raw bytes with their offset, while they grow and until they are whole.

The output file of a run is the truth; the journal knows how much of it the API has. A part that was sent twice does
nothing there, and where the API is short of an earlier one it says so (`409 {"have": N}`): so nothing is lost when
either side restarts. While the API is away the files wait.
"""

from __future__ import annotations

import ssl
from http import HTTPStatus
from pathlib import Path

import httpx

from libs.chassis.logs import get_logger
from libs.chassis.metrics import counter
from services.host_runner.journal import Journal, OpenLog
from services.host_runner.keys import Keys
from services.host_runner.sending import ApiAwayError, NotNowError, Sending, said

PART_BYTES = 256 << 10
PARTS_PER_TURN = 4
"""Then it is the next log's turn: a big one must not keep a live one waiting."""
REQUEST_SECONDS = 10.0

BYTES = counter("host_log_sent_bytes", "Bytes of logs that the API has taken")
GIVEN_UP = counter("host_logs_given_up", "Logs that the API refused")

log = get_logger(__name__)


class Uploads(Sending):
    """Sends what the API does not have, for as long as the process lives."""

    name = "uploads"
    request_seconds = REQUEST_SECONDS

    def __init__(
        self,
        journal: Journal,
        runs_dir: Path,
        output_name: str,
        api_url: str,
        keys: Keys,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(api_url, keys, verify)
        self._journal = journal
        self._runs_dir = runs_dir
        self._output_name = output_name

    async def _turn(self, client: httpx.AsyncClient) -> bool:
        """Send some of every log; whether there is more to send at once."""
        is_more = False
        refusal: NotNowError | None = None
        for one in self._journal.open_logs():
            if self.stopping.is_set():
                return False
            try:
                is_more |= await self._send_some(client, one)
            except NotNowError as error:
                refusal = error  # one log that it cannot take now must not keep the others back
        if refusal is not None:
            raise refusal
        return is_more

    async def _send_some(self, client: httpx.AsyncClient, one: OpenLog) -> bool:
        path = self._runs_dir / str(one.execution_id) / self._output_name
        sent, is_more = one.sent, True
        for _ in range(PARTS_PER_TURN):
            part = _read(path, sent)
            if not part:
                if one.size is not None:
                    self._journal.log_done(one.execution_id)
                return False
            have = await self._put(client, one, sent, part)
            if have is None:
                self._journal.log_done(one.execution_id)
                return False
            is_taken, is_full = have == sent + len(part), len(part) == PART_BYTES
            is_more = is_taken and is_full
            sent = have
            self._journal.log_sent(one.execution_id, sent)
            if is_taken and not is_full and one.size is None:
                break  # what it printed meanwhile can wait: a slow API is not to be sent crumbs without end
        return is_more

    async def _put(self, client: httpx.AsyncClient, one: OpenLog, offset: int, part: bytes) -> int | None:
        """How many bytes the API has now; None if it will never take this log. Raises `ApiAwayError`, `NotNowError`."""
        url = f"{self._url}/api/v1/executions/{one.execution_id}/log"
        try:
            answer = await client.put(url, params={"offset": offset}, content=part)
        except httpx.TransportError as error:
            raise ApiAwayError(said(error)) from error
        match answer.status_code:
            case HTTPStatus.NO_CONTENT | HTTPStatus.OK:
                BYTES.inc(len(part))
                return offset + len(part)
            case HTTPStatus.CONFLICT if (have := _have(answer)) is not None and have != offset:
                return have
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
                GIVEN_UP.inc()
                log.error("The API does not take a log", execution_id=str(one.execution_id), status=status)
                return None


def _have(answer: httpx.Response) -> int | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    have = body.get("have") if isinstance(body, dict) else None
    return have if isinstance(have, int) and have >= 0 else None


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PART_BYTES)
    except FileNotFoundError:
        return b""
