"""The HTTP API as the command line uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import httpx

from cli.errors import CliError, ExitCode
from libs.chassis.tls import http_context, in_words

_BASE = "/api/v1"
_REQUEST_SECONDS = 30.0
_MOST_ON_A_PAGE = 500

Json = dict[str, Any]


class Api:
    """Asks, and turns everything but success into a `CliError`: out of reach, or refused with the problem's words."""

    def __init__(
        self, url: str, token: str | None, *, ca_file: str | None = None, patience: float = _REQUEST_SECONDS
    ) -> None:
        """`ca_file`: who is trusted at an `https` url; the system's authorities unless given."""
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        # No proxy of the environment: the API is named, and often it is on this very machine.
        self._client = httpx.Client(
            base_url=self.url + _BASE,
            headers=headers,
            timeout=patience,
            trust_env=False,
            verify=http_context(self.url, ca_file),
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, within: float = _REQUEST_SECONDS) -> Json:
        """The object at this path, `within` so many seconds."""
        return self._object("GET", path, params=_given(params), timeout=within)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        within: float = _REQUEST_SECONDS,
        version: int | None = None,
    ) -> Json:
        """What the API answers, `within` so many seconds; refused when the version is no longer this one."""
        return self._object("POST", path, json=dict(body or {}), timeout=within, headers=_if_match(version))

    def patch(self, path: str, body: Mapping[str, Any], version: int | None = None) -> Json:
        """Edit; refused when the version is no longer this one."""
        return self._object("PATCH", path, json=dict(body), headers=_if_match(version))

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        """Set what is at this path."""
        return self._object("PUT", path, json=dict(body))

    def delete(self, path: str, version: int | None = None) -> Json | None:
        """None when the API has nothing to say about it; refused when the version is no longer this one."""
        answer = self._ask("DELETE", path, headers=_if_match(version))
        return _read(answer) if answer.content else None

    def items(self, path: str, params: Mapping[str, Any] | None = None, limit: int | None = None) -> list[Json]:
        """The first `limit` of a list, or all of it, page by page."""
        found: list[Json] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            size = _MOST_ON_A_PAGE if limit is None else min(limit - len(found), _MOST_ON_A_PAGE)
            page = self.get(path, {**(params or {}), "limit": size, "cursor": cursor})
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any] | None = None, **headers: str) -> Iterator[httpx.Response]:
        """An open answer, without a limit of time between its parts. `CliError` also when it breaks off."""
        timeout = httpx.Timeout(_REQUEST_SECONDS, read=None)
        try:
            with self._client.stream(
                "GET",
                path,
                params=_given(params),
                headers={"Accept": "*/*", **headers},
                timeout=timeout,
                follow_redirects=True,
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refusal(answer)
                yield answer
        except httpx.TransportError as error:
            raise self._out_of_reach(error) from error

    def _object(self, method: str, path: str, **how: Any) -> Json:
        return _read(self._ask(method, path, **how))

    def _ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **how)
        except httpx.TransportError as error:
            raise self._out_of_reach(error) from error
        if not answer.is_success:
            raise refusal(answer)
        return answer

    def _out_of_reach(self, error: httpx.TransportError) -> CliError:
        why = in_words(error) or str(error)
        if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and self.url.startswith("http://"):
            why += "; does it speak TLS? Then write https://"
        return CliError(ExitCode.OUT_OF_REACH, f"The API at {self.url} is out of reach: {why}")


def refusal(answer: httpx.Response) -> CliError:
    """The problem that the API answered, in its own words."""
    try:
        problem = answer.json()
        detail, errors = problem["detail"], problem["errors"]
    except (ValueError, KeyError, TypeError):
        return _stranger(answer)
    return CliError(ExitCode.REFUSED, str(detail), tuple(_line(error) for error in errors), tuple(errors))


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def _line(error: Mapping[str, Any]) -> str:
    hint = error.get("hint")
    return f"  {error.get('field')}: {error.get('message')}" + (f" ({hint})" if hint else "")


def _read(answer: httpx.Response) -> Json:
    try:
        read = answer.json()
    except ValueError:
        raise _stranger(answer) from None
    if not isinstance(read, dict):
        raise _stranger(answer)
    return read


def _stranger(answer: httpx.Response) -> CliError:
    return CliError(
        ExitCode.OUT_OF_REACH,
        f"What answers at {answer.url} is not Rigbeat's API ({answer.status_code}); check --api-url.",
    )


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None and value != []}
