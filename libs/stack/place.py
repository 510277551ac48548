"""Where a server's data lives: in the directory itself, or, as root, under /var/lib with a link from the directory."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path

import psutil

from libs.stack.program import ROOTS_HOME

_ORIGIN = "origin"


def place_of(directory: Path) -> Path:
    """Where the data of this directory is or will be; makes the directory and the link, not the data."""
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "data"
    if link.is_symlink():
        return link.readlink()
    if os.geteuid() != 0 or link.exists():
        return link
    # The drawn half keeps a directory that was removed and made anew apart from the data it once had.
    known = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    data = ROOTS_HOME / f"{known}-{secrets.token_hex(4)}" / "data"
    link.symlink_to(data)
    return data


def clear(directory: Path, data: Path) -> None:
    """Remove the data and what leads to it."""
    shutil.rmtree(data.parent if data.is_relative_to(ROOTS_HOME) else data, ignore_errors=True)
    (directory / "data").unlink(missing_ok=True)


def mark_passing(directory: Path, data: Path) -> None:
    """This data may be swept once its directory is gone: it belongs to a test, which may be killed before its end."""
    if data.is_relative_to(ROOTS_HOME):
        (data.parent / _ORIGIN).write_text(str(directory.resolve() / "data"))


def sweep() -> None:
    """Remove the marked data that no directory leads to any more and no server works in."""
    for origin in ROOTS_HOME.glob(f"*/{_ORIGIN}"):
        data, link = origin.with_name("data"), Path(origin.read_text())
        led_to = link.is_symlink() and link.readlink() == data
        if not led_to and not working_in(data):
            shutil.rmtree(data.parent, ignore_errors=True)


def working_in(data: Path) -> list[int]:
    """Processes of a PostgreSQL server on this data: all of them work in it.

    Where another user's working folder cannot be seen (root in a container that may not trace), the postmaster alone is
    found, by its command line.
    """
    place = str(data.resolve())
    return [
        process.pid
        for process in psutil.process_iter(["name", "cwd", "cmdline"])
        if process.info["name"] == "postgres"
        and (process.info["cwd"] == place or _names(process.info["cmdline"] or [], data))
    ]


def _names(command: list[str], data: Path) -> bool:
    return "-D" in command[:-1] and Path(command[command.index("-D") + 1]).resolve() == data.resolve()
