"""RabbitMQ out of the distribution's packages, unpacked into the user's cache: nothing installed, no root needed."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.process import Finished, run

_SERVER = "rabbitmq-server"
_LOOK_UP_SECONDS = 60.0
_DOWNLOAD_SECONDS = 600.0
_ROOM_BYTES = 250 << 20
"""Packages and lists of packages (80 MB), and what is unpacked out of them (110 MB)."""
_OF_THE_SYSTEM = frozenset({"libc6", "libgcc-s1"})
"""Never taken from a package: a second C library in one process is a crash."""
_RELATIONS = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
_TOOLS = ("apt-get", "apt-cache", "dpkg", "dpkg-query")
_OTHERWISE = "install RabbitMQ, start a Docker engine, or set RIGBEAT_AMQP_URL to one that runs already."
_ERLANG_HOME = "/usr/lib/erlang"


@dataclass(frozen=True)
class Apt:
    """The package tools; `options` may point them to lists of packages of our own."""

    options: tuple[str, ...] = ()

    def get(self, *arguments: str, cwd: Path) -> Finished:
        """`apt-get`, with the environment of this process: it may name a proxy."""
        return run([_tool("apt-get"), *self.options, *arguments], cwd=cwd, within=_DOWNLOAD_SECONDS)

    def needed(self, package: str = _SERVER) -> list[str]:
        """RabbitMQ (or another server), its parts of Erlang, and the shared libraries that this machine lacks."""
        flags = [f"--no-{relation}" for relation in _RELATIONS]
        listed = run(
            [_tool("apt-cache"), *self.options, "depends", "--recurse", *flags, package], within=_LOOK_UP_SECONDS
        )
        return wanted(listed.output, _installed(), package) if listed.code == 0 else []


def unpacked(cache: Path, tell: Callable[[str], None]) -> Path:
    """The root of the unpacked packages; downloaded at first. StackError says what to do when they cannot be had."""
    for name in _TOOLS:
        _tool(name)
    root = cache / f"rabbitmq-{_distribution()}"
    if root.exists():
        return root
    with _alone(cache):
        for left in cache.glob("draft-*"):  # by one that was killed: we are alone
            shutil.rmtree(left)
        if not root.exists():
            draft = cache / f"draft-{secrets.token_hex(4)}"
            try:
                _download(draft, tell)
                _unpack(draft, root)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return root


def wanted(depends: str, installed: frozenset[str], server: str = _SERVER) -> list[str]:
    """What to download, from the output of `apt-cache depends --recurse`.

    Followed are the server's and Erlang's own dependencies, not those of tools (adduser, logrotate, socat …) that only
    a system service needs.
    """
    needs: dict[str, list[str]] = {}
    current: list[str] = []
    for line in depends.splitlines():
        if line and not line[0].isspace() and line[0] != "<":
            current = needs.setdefault(line.strip(), [])
        elif match := re.fullmatch(r"\s[ |](?:Pre)?Depends: ([^<\s]+)", line):
            current.append(match[1])
    found: set[str] = set()
    waiting = [server] if server in needs else []
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += [need for need in needs.get(name, ()) if need not in found and _is_ours(need, installed)]
    return sorted(found)


def _is_ours(name: str, installed: frozenset[str]) -> bool:
    return name.startswith("erlang-") or (
        name.startswith("lib") and name not in installed and name not in _OF_THE_SYSTEM
    )


def _download(draft: Path, tell: Callable[[str], None]) -> None:
    """Packages into `draft`: by the machine's package lists, or by new ones when those are empty or old."""
    free = shutil.disk_usage(draft.parent).free
    if free < _ROOM_BYTES:
        raise StackError(
            f"Only {free >> 20} MB are free on the disk of {draft.parent}, and RabbitMQ's packages need "
            f"{_ROOM_BYTES >> 20} MB; free some space, or set RIGBEAT_AMQP_URL to a RabbitMQ that runs already."
        )
    archives = draft / "archives"
    archives.mkdir(parents=True)
    tell("Downloading RabbitMQ's packages (about 35 MB, once) …")
    names = Apt().needed()
    if names and Apt().get("download", *names, cwd=archives).code == 0:
        return
    own = _own_lists(draft / "apt")
    update = own.get("update", cwd=draft)
    names = own.needed()
    if not names:
        raise StackError(f"The package {_SERVER} cannot be found ({update.tail()}); check the network, {_OTHERWISE}")
    answer = own.get("download", *names, cwd=archives)
    if answer.code != 0:
        raise StackError(f"RabbitMQ's packages cannot be downloaded ({answer.tail()}); check the network, {_OTHERWISE}")


def _own_lists(place: Path) -> Apt:
    for part in ("lists/partial", "cache/archives/partial"):
        (place / part).mkdir(parents=True)
    settings = {
        "Dir::State::lists": f"{place}/lists",
        "Dir::Cache": f"{place}/cache",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",  # apt's own user could not write here
    }
    return Apt(tuple(part for name, value in settings.items() for part in ("-o", f"{name}={value}")))


def _unpack(draft: Path, root: Path) -> None:
    """Unpack beside the final place and move it there whole; Erlang's scripts learn where they will live."""
    tree = draft / "root"
    tree.mkdir()
    for archive in sorted((draft / "archives").glob("*.deb")):
        answer = run([_tool("dpkg"), "-x", archive, tree], within=_LOOK_UP_SECONDS)
        if answer.code != 0:
            raise StackError(f"{archive.name} cannot be unpacked ({answer.tail()}); is {root.parent} full?")
    home = tree / _ERLANG_HOME.lstrip("/")
    for script in (home / "bin" / "erl", *home.glob("erts-*/bin/erl"), *home.glob("erts-*/bin/start")):
        script.write_text(script.read_text().replace(f"ROOTDIR={_ERLANG_HOME}", f"ROOTDIR={root}{_ERLANG_HOME}"))
    tree.rename(root)


def _installed() -> frozenset[str]:
    listed = run([_tool("dpkg-query"), "-W", "-f", "${Package} ${db:Status-Status}\\n"], within=_LOOK_UP_SECONDS)
    rows = (line.split() for line in listed.output.splitlines())
    return frozenset(row[0] for row in rows if row[1:] == ["installed"])


def _distribution() -> str:
    """Such as `debian-12-amd64`: what the packages are made for."""
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    system = "-".join(facts.get(key, "unknown").strip('"') for key in ("ID", "VERSION_ID"))
    return f"{system}-{os.uname().machine}"


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise StackError(f"There is no rabbitmq-server on this machine and no {name} to fetch one; {_OTHERWISE}")
    return path


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One process at a time fills the cache; the others wait."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
