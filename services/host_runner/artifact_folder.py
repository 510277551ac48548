"""The folder in which a script left its files: looked at without following anything out of it. Blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from services.host_runner.core.artifact_choice import Found

MOST_LOOKED_AT = 10_000
"""Who leaves more files than that behind has not left a report."""


def look(folder: Path) -> tuple[list[Found], int]:
    """What is in the folder, and how many things beyond `MOST_LOOKED_AT` are; nothing if there is no folder."""
    things = _walk(folder, "")
    return list(islice(things, MOST_LOOKED_AT)), sum(1 for _ in islice(things, MOST_LOOKED_AT))


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """A regular file and its size. Raises `OSError` when it is gone or something else by now."""
    # Without waiting: nobody may ever write to a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is no regular file any more")
    return os.fdopen(descriptor, "rb"), facts.st_size


def _walk(folder: Path, prefix: str) -> Iterator[Found]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        name = f"{prefix}{entry.name}"
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                yield Found(name, entry.stat(follow_symlinks=False).st_size)
            else:
                yield Found(name, None)
        except FileNotFoundError:
            continue
