"""What lets the runner in at the API and at the broker: given by the environment, or its own, kept on its disk.

Its own are in `STATE_DIR/credentials.json`, which only the runner's user reads, and are replaced whole: a runner that
dies in between has the former or the next.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from libs.chassis.peer_settings import PeerSettings
from services.host_runner.interpreter import sync

FILE = "credentials.json"


@dataclass(frozen=True, slots=True)
class Pair:
    """A token of the API, and the broker's url with user and password."""

    token: str
    amqp_url: str


class KeysError(Exception):
    """The file is there and cannot be read."""


@dataclass(frozen=True, slots=True)
class _Kept(Pair):
    """What lies on the disk. `is_taken`: the API has heard that it does; a file of a former release does not say."""

    is_taken: bool = True


class Keys(httpx.Auth):
    """The pair that is good now; `there` is set once there is one. Lets requests of httpx be sent with the token."""

    def __init__(
        self, state_dir: Path, given: Pair | None, broker: str | None, peers: PeerSettings | None = None
    ) -> None:
        """`given`: instead of its own. `broker`: an url whose address counts, rather than the one that was issued.

        `peers` says who is trusted. Raises `KeysError`.
        """
        self._peers = peers or PeerSettings()
        self._path = state_dir / FILE
        self._broker = broker
        self._pair = given or self._kept()
        if self._pair is not None:
            self._require_safe(self._pair.amqp_url)
        self.is_own = given is None
        self.is_taken = given is not None or getattr(self._pair, "is_taken", True)
        """Whether the API has heard that these are here, and has ended those before them."""
        self.there = asyncio.Event()
        if self._pair is not None:
            self.there.set()

    @property
    def token(self) -> str:
        """Of the API."""
        return self._now.token

    @property
    def amqp_url(self) -> str:
        """Of the broker, as it is connected to."""
        return self._peers.reach(self._now.amqp_url)

    @property
    def user(self) -> str:
        """Of the broker."""
        return unquote(urlsplit(self.amqp_url).username or "")

    def take(self, token: str, amqp_url: str | None) -> None:
        """These from now on; on the disk before anybody uses them.

        `amqp_url` None: the API gives no users of the broker. Raises `OSError`; `KeysError` if then none is given here,
        or if it leads through the network in the clear.
        """
        url = self._broker if amqp_url is None else self._address(amqp_url)
        if url is None or not urlsplit(url).username:
            raise KeysError(
                "the API gives hosts no user of the broker: set RIGBEAT_AMQP_URL with a user and a password"
            )
        self._require_safe(url)
        self._keep(_Kept(token, url, is_taken=False))
        self.there.set()

    def taken(self) -> None:
        """The API has heard that these are here. Raises `OSError`."""
        now = self._now
        self._keep(_Kept(now.token, now.amqp_url))

    def _keep(self, pair: _Kept) -> None:
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 # needs the mode
            json.dump(asdict(pair), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        # The name, too: what came before is dead as soon as the API hears that these are here.
        sync(self._path.parent)
        self._pair, self.is_taken = pair, pair.is_taken

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """For httpx."""
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request

    @property
    def _now(self) -> Pair:
        assert self._pair is not None, "nobody asks before `there` is set"
        return self._pair

    def _require_safe(self, url: str) -> None:
        if problem := self._peers.why_not(url):
            raise KeysError(f"the broker's url, from the API or from RIGBEAT_AMQP_URL: {problem}")

    def _kept(self) -> Pair | None:
        kept = _read(self._path)
        return None if kept is None else replace(kept, amqp_url=self._address(kept.amqp_url))

    def _address(self, issued: str) -> str:
        if self._broker is None:
            return issued
        parts, meant = urlsplit(issued), urlsplit(self._broker)
        user, _, _ = parts.netloc.rpartition("@")
        _, _, address = meant.netloc.rpartition("@")
        return urlunsplit((meant.scheme, f"{user}@{address}", meant.path or parts.path, meant.query, ""))


def _read(path: Path) -> _Kept | None:
    try:
        return _Kept(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise KeysError(f"{path} cannot be read ({error}): remove it and enrol the host again") from error
