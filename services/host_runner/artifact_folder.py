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


def look(folder: Path, most: int = MOST_LOOKED_AT) -> tuple[list[Found], int]:
    """What is in the folder, and how many things beyond `most` are (some, if very many); nothing if there is no folder.

    What lies at the top comes first, so that a folder with very much in it does not hide a report beside it.
    """
    things = _walk(folder)
    return list(islice(things, most)), sum(1 for _ in islice(things, most))


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """A regular file and its size. Raises `OSError` when it is gone or something else by now."""
    # Without waiting: nobody may ever write to a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is no regular file any more")
    return os.fdopen(descriptor, "rb"), facts.st_size


def _walk(folder: Path) -> Iterator[Found]:
    waiting = deque([("", folder)])
    folders = 1
    while waiting:
        prefix, place = waiting.popleft()
        for found in _inside(place, prefix):
            if not found.name.endswith("/"):
                yield found
            elif len(os.fsencode(found.name)) > LONGEST_NAME:
                yield found  # nothing in it could be sent
            elif folders == MOST_LOOKED_AT:
                yield Found(found.name, None)
            else:
                folders += 1
                waiting.append((found.name, folder / found.name))


def _inside(place: Path, prefix: str) -> list[Found]:
    """What is in this one folder; the name of a folder ends with a slash."""
    found: list[Found] = []
    # What is gone by now, is a link in the place of a folder, or cannot be read, holds nothing for us.
    with suppress(OSError), _opened(place) as descriptor, os.scandir(descriptor) as entries:
        for entry in sorted(islice(entries, 2 * MOST_LOOKED_AT), key=lambda one: one.name):
            name = f"{prefix}{entry.name}"
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    found.append(Found(f"{name}/", 0))
                elif entry.is_file(follow_symlinks=False):
                    found.append(Found(name, entry.stat(follow_symlinks=False).st_size))
                else:
                    found.append(Found(name, None))
    return found


@contextmanager
def _opened(place: Path) -> Iterator[int]:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
