"""The folder in which a script left its files: looked at without following anything out of it. Blocks."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from libs.contracts.artifacts import LONGEST_NAME
from services.host_runner.core.artifact_choice import Found

MOST_LOOKED_AT = 10_000
"""Who leaves more files than that behind has not left a report."""


def look(folder: Path, most: int = MOST_LOOKED_AT, owner: int | None = None) -> tuple[list[Found], int]:
    """What is in the folder, and how many things beyond `most` are (some, if very many); nothing if there is no folder.

    What lies at the top comes first, so that a folder with very much in it does not hide a report beside it. `owner` is
    the user that scripts run as, if that is not this one: see `open_file`.
    """
    things = _walk(folder, owner)
    return list(islice(things, most)), sum(1 for _ in islice(things, most))


def open_file(folder: Path, name: str, owner: int | None = None) -> tuple[BinaryIO, int]:
    """A regular file in the folder and its size. Raises `OSError` when it is gone or something else by now.

    With the `owner`, it is also none that the owner only gave a second name: what one may not read one may link to.
    """
    with _opened(folder, *name.split("/")[:-1]) as place:
        # Without waiting: nobody may ever write to a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name.rpartition("/")[2], flags, dir_fd=place)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or not _is_own(facts, owner):
        os.close(descriptor)
        raise FileNotFoundError(f"{folder / name} is no regular file of the script any more")
    return os.fdopen(descriptor, "rb"), facts.st_size


def _is_own(facts: os.stat_result, owner: int | None) -> bool:
    return owner is None or facts.st_uid == owner or facts.st_nlink == 1


def _walk(folder: Path, owner: int | None) -> Iterator[Found]:
    waiting = deque([""])
    folders = 1
    while waiting:
        for found in _inside(folder, waiting.popleft(), owner):
            if not found.name.endswith("/"):
                yield found
            elif len(os.fsencode(found.name)) > LONGEST_NAME:
                yield found  # nothing in it could be sent
            elif folders == MOST_LOOKED_AT:
                yield Found(found.name, None)
            else:
                folders += 1
                waiting.append(found.name)


def _inside(folder: Path, prefix: str, owner: int | None) -> list[Found]:
    """What is in this one folder in the folder; the name of a folder ends with a slash."""
    found: list[Found] = []
    # What is gone by now, is a link in the place of a folder, or cannot be read, holds nothing for us.
    with suppress(OSError), _opened(folder, *prefix.split("/")[:-1]) as descriptor, os.scandir(descriptor) as entries:
        for entry in sorted(islice(entries, 2 * MOST_LOOKED_AT), key=lambda one: one.name):
            name = f"{prefix}{entry.name}"
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    found.append(Found(f"{name}/", 0))
                elif entry.is_file(follow_symlinks=False) and _is_own(entry.stat(follow_symlinks=False), owner):
                    found.append(Found(name, entry.stat(follow_symlinks=False).st_size))
                else:
                    found.append(Found(name, None))
    return found


@contextmanager
def _opened(folder: Path, *names: str) -> Iterator[int]:
    """A folder in a folder in the folder, step by step: another script may put a link in the place of any of them."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags)
    try:
        for name in names:
            above, descriptor = descriptor, os.open(name, flags, dir_fd=descriptor)
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)
