"""Where RabbitMQ's and Erlang's programs are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from libs.stack import packages
from libs.stack.container import Engine, find_engine
from libs.stack.errors import StackError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Installation:
    """A RabbitMQ that can be started: the real script of the server, not a distribution's wrapper that changes user.

    `libs/stack/rooted.py` has one that is started in a root file system of its own.
    """

    server: Path
    erlang: Path
    epmd: Path
    libraries: tuple[Path, ...] = ()

    @property
    def version(self) -> str:
        """Such as `3.10.8`; empty when the folders do not tell."""
        found = re.search(r"rabbitmq_server-([0-9.]+[0-9])", str(self.server.resolve()))
        return found[1] if found else ""

    def environment(self) -> dict[str, str]:
        """What its programs need to find each other."""
        env = {"PATH": f"{self.erlang}:{PATH}", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if self.libraries:
            env["LD_LIBRARY_PATH"] = ":".join(map(str, self.libraries))
        return env

    def sees(self, folder: Path) -> Path:
        """Where its programs see the node's folder: where it is."""
        return folder

    def command(self, folder: Path, words: Sequence[str | Path]) -> list[str | Path]:
        """How to run one of its programs, given with its arguments, for the node in this folder."""
        return list(words)


def default_cache() -> Path:
    """`~/.cache/rigbeat`."""
    return Path.home() / ".cache" / "rigbeat"


def find_rabbitmq(cache: Path, tell: Callable[[str], None] = lambda _line: None) -> Installation | Engine:
    """The machine's own RabbitMQ, else the distribution's packages in the cache, else a container engine's.

    StackError says what to do when there is none. `tell` gets a line for people when something takes long.
    """
    on_machine = _on_machine()
    if on_machine is not None:
        return on_machine
    try:
        return _unpacked(packages.unpacked(cache, tell))
    except StackError as refusal:
        engine = find_engine()
        if engine is None:
            raise
        tell(f"{refusal} Meanwhile it runs in a container.")
        return engine


def _on_machine() -> Installation | None:
    servers = [
        *Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"),
        *_on_path("rabbitmq-server"),
    ]
    return whole(servers, _on_path("erl"))


def _unpacked(root: Path) -> Installation:
    found = whole(
        root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"), root.glob("usr/lib/erlang/bin/erl")
    )
    if found is None:
        raise StackError(f"{root} holds no whole RabbitMQ; remove it and start again.")
    libraries = {library.parent for place in ("lib", "usr/lib") for library in root.glob(f"{place}/*-linux-*/*.so.*")}
    return replace(found, libraries=tuple(sorted(libraries)))


def whole(servers: Iterable[Path], erls: Iterable[Path]) -> Installation | None:
    """The first real server script (a distribution's wrapper has no rabbitmq-env beside it) with the first Erlang."""
    server = next((path for path in servers if path.with_name("rabbitmq-env").exists()), None)
    erl = next((path for path in erls if path.with_name("epmd").exists()), None)
    return None if server is None or erl is None else Installation(server, erl.parent, erl.with_name("epmd"))


def _on_path(name: str) -> list[Path]:
    found = shutil.which(name) or shutil.which(name, path=PATH)
    return [] if found is None else [Path(found).resolve()]
