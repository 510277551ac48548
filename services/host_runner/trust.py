"""Whether the user who runs scripts could change what is run: then it is not run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from services.host_runner.bounds import User


def changeable(path: Path, root: Path, user: User) -> Path | None:
    """The first of `path` and the folders from it up to `root` that the user could change; None if it is none.

    Both are resolved. By owner and mode; an access control list is not looked at. Raises `OSError`.
    """
    for place in (path, *path.parents):
        facts = place.stat()
        if user.may_write(facts.st_uid, facts.st_gid, facts.st_mode):
            return place
        if place == root:
            break
    return None


def replaceable(folder: Path, user: User) -> Path | None:
    """The first folder above this resolved one in which the user could put another in its place. Raises `OSError`."""
    for place in folder.parents:
        facts = place.stat()
        is_shared = bool(facts.st_mode & stat.S_ISVTX) and facts.st_uid != user.uid
        if user.may_write(facts.st_uid, facts.st_gid, facts.st_mode) and not is_shared:
            return place
    return None


def give(folder: Path, user: User | None) -> None:
    """Make a folder that only this user (None: the runner's own) may enter; one that is there becomes it.

    What it lies in is the runner's, so that nobody can put a link in its place. Raises `OSError`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None:
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)


def take_back(folder: Path) -> None:
    """Let only the runner enter it from now on. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
