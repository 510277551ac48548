"""Servers of other versions, prepared once in a cache: Debian 13's RabbitMQ 4 and Debian 12's PostgreSQL 15.

`python -m tests.support.debian` (`make versions`) prepares both, or says in one sentence what it lacks. Nothing is
installed: RabbitMQ lies in a root file system by debootstrap, PostgreSQL is the machine's own or unpacked packages.
Root is needed, for chroot.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.installation import PATH, default_cache
from libs.stack.packages import Apt
from libs.stack.process import run
from libs.stack.program import ROOTS_HOME, find_programs
from libs.stack.rooted import NODE, find_rooted

_RELEASE = "trixie"
_POSTGRES = "postgresql-15"
_BIN = Path("usr/lib/postgresql/15/bin")
_BUILD_SECONDS = 900.0
_LIST_SECONDS = 60.0
_ROOM_BYTES = 1 << 30
"""The root (400 MB) and the packages that it is made of, with room to spare."""


def rabbitmq_root() -> Path:
    """Where the root file system with RabbitMQ 4 is, or will be."""
    return default_cache() / f"rabbitmq-debian-13-{os.uname().machine}"


def postgres_bin() -> Path:
    """Where the programs of PostgreSQL 15 are, or will be: installed, else unpacked where every user reaches them."""
    installed = Path("/") / _BIN
    return installed if (installed / "initdb").exists() else _unpacked_postgres() / _BIN


def prepare(tell: Callable[[str], None]) -> None:
    """Both, one process at a time. Boring when they are there; StackError says what is missing."""
    if os.geteuid() != 0:
        raise StackError("RabbitMQ 4 is started by chroot, and only root may: run it as root.")
    cache = default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "versions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _made_whole(_build_root, rabbitmq_root(), tell)
        if postgres_bin().is_relative_to(_unpacked_postgres()):
            _made_whole(_unpack_postgres, _unpacked_postgres(), tell)
    tell(f"RabbitMQ {find_rooted(rabbitmq_root()).version}: {rabbitmq_root()}")
    tell(f"PostgreSQL {find_programs(postgres_bin()).major}: {postgres_bin()}")


def postgres_with_tls() -> bool:
    """Whether PostgreSQL 15 is there, unpacked now if need be: the wheel's PostgreSQL is built without TLS."""
    if not postgres_bin().is_relative_to(_unpacked_postgres()):
        return True
    try:
        if os.geteuid() == 0:
            cache = default_cache()
            cache.mkdir(parents=True, exist_ok=True)
            with (cache / "versions.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _made_whole(_unpack_postgres, _unpacked_postgres(), print)
    except StackError as missing:
        print(missing)  # noqa: T201 - the test that wants it is said to be left out
    return (postgres_bin() / "initdb").exists()


def _made_whole(make: Callable[[Path], None], place: Path, tell: Callable[[str], None]) -> None:
    """Beside its place, then moved there: what was interrupted never looks done."""
    for left in place.parent.glob(f"{place.name}.draft-*"):  # by one that was killed: we are alone
        shutil.rmtree(left)
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place.parent).free
    if free < _ROOM_BYTES:
        raise StackError(f"Only {free >> 20} MB are free on the disk of {place}: {_ROOM_BYTES >> 20} MB are needed.")
    draft = place.with_name(f"{place.name}.draft-{secrets.token_hex(4)}")
    tell(f"Preparing {place} (once) …")
    began = time.monotonic()
    try:
        make(draft)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    tell(f"  done after {time.monotonic() - began:.0f} s")


def _build_root(draft: Path) -> None:
    debootstrap = _tool("debootstrap")
    # In namespaces of its own: when it is killed, nothing of it runs on and nothing stays mounted in the draft.
    alone = [_tool("unshare"), "--mount", "--pid", "--fork", "--kill-child"]
    made = run(
        [*alone, debootstrap, "--variant=minbase", "--include=rabbitmq-server", _RELEASE, draft, _mirror()],
        within=_BUILD_SECONDS,
    )
    if made.code != 0:
        log = draft / "debootstrap" / "debootstrap.log"
        why = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        raise StackError(f"debootstrap could not make Debian 13 ({' | '.join([made.tail(), *why])}).")
    (draft / NODE.relative_to("/")).mkdir()
    for archive in (draft / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    # Names are looked up on this machine alone: the node is called …@localhost.
    (draft / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (draft / "etc/resolv.conf").unlink(missing_ok=True)


def _mirror() -> str:
    """Where this machine's apt gets Debian from."""
    answer = run(
        [_tool("apt-get"), "indextargets", "--format", "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)"], within=_LIST_SECONDS
    )
    rows = [line.split("\t") for line in answer.output.splitlines()]
    found = [row[2] for row in rows if row[:2] == ["Debian", "Debian"]]
    if not found:
        raise StackError("apt knows no mirror of Debian on this machine; run apt-get update, or use Debian 12.")
    return found[0]


def _tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise StackError(f"There is no {name} on this machine; install it: apt install {name}.")
    return found


def _unpacked_postgres() -> Path:
    return ROOTS_HOME / f"{_POSTGRES}-{os.uname().machine}"


def _unpack_postgres(draft: Path) -> None:
    apt, archives = Apt(), draft / "archives"
    archives.mkdir(parents=True)
    names = apt.needed(_POSTGRES)
    answer = apt.get("download", *names, cwd=archives) if names else None
    if answer is None or answer.code != 0:
        why = "it is not known" if answer is None else answer.tail()
        raise StackError(f"The package {_POSTGRES} cannot be had ({why}); run apt-get update, or use Debian 12.")
    for archive in sorted(archives.glob("*.deb")):
        unpacked = run([_tool("dpkg"), "-x", archive, draft], within=_LIST_SECONDS)
        if unpacked.code != 0:
            raise StackError(f"{archive.name} cannot be unpacked ({unpacked.tail()}).")
    shutil.rmtree(archives)
    draft.chmod(0o755)


if __name__ == "__main__":
    try:
        prepare(print)
    except StackError as missing:
        sys.exit(f"NOT RUN: tests on RabbitMQ 4 and PostgreSQL 15. {missing}")
