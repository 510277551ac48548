"""Waiting until what was started answers; a start that failed is said in one sentence."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import httpx

from cli.client import Api
from cli.errors import CliError, ExitCode
from cli.up import signals
from cli.up.keeper import Keeper
from cli.up.plan import url

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05
_REQUEST_SECONDS = 5.0
# Once may be bad luck; so often it is the configuration.
_DEATHS = 3
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what "every address" is from here


def until_ready(keeper: Keeper, path: str = "/readyz") -> None:
    """Until this path of the member's port answers 200. `CliError` when it does not come up."""
    assert keeper.member.port is not None
    with httpx.Client(base_url=url(keeper.member.port), timeout=_REQUEST_SECONDS, trust_env=False) as client:

        def answers() -> bool:
            try:
                return client.get(path).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        _until(answers, keeper, "ready")


def until_listening(keeper: Keeper, address: str) -> None:
    """Until the member's port of this address is there; who answers there shows a certificate of another name."""
    assert keeper.member.port is not None
    port = keeper.member.port

    def listens() -> bool:
        try:
            socket.create_connection((_LOCAL.get(address, address), port), timeout=_REQUEST_SECONDS).close()
        except OSError:
            return False
        return True

    _until(listens, keeper, "listening")


def until_online(api: Api, host: str, keeper: Keeper) -> None:
    """Until the API shows the host online, with its scripts."""

    def online() -> bool:
        try:
            hosts = api.items("/hosts")
        except CliError:
            return False
        return any(each["name"] == host and each["status"] == "online" and each["scripts"] for each in hosts)

    _until(online, keeper, "online")


def _until(condition: Callable[[], bool], keeper: Keeper, what: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if keeper.deaths >= _DEATHS:
            raise CliError(ExitCode.NO, f"{keeper.name} ends as soon as it is started: {keeper.last_words()}")
        if time.monotonic() > deadline:
            late = f"{keeper.name} was not {what} within {_READY_SECONDS:.0f} s"
            raise CliError(ExitCode.NO, f"{late}; the end of its log: {keeper.last_words()}")
        signals.pause(_POLL_SECONDS)
