"""Removing what scripts left behind, whatever they built: too deep for a path, read-only, a link in its own place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from libs.chassis.logs import get_logger

AT_ONCE = 1000

log = get_logger(__name__)


def remove(place: Path) -> None:
    """Remove the folder with all that is in it, or what stands in its place; a link is removed and not followed.

    Boring when there is nothing. What cannot be removed stays, with a warning. Blocks.
    """
    try:
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
        else:
            _remove_folder(place)
    except OSError as error:
        log.warning("A folder cannot be removed", path=str(place), reason=str(error))


def _remove_folder(place: Path) -> None:
    # Not `shutil.rmtree`: it holds a file open for each level, and a script decides how many levels there are. Here
    # every folder is first brought up to the top, and no path is longer than two of its names.
    flat, numbers = Path(tempfile.mkdtemp(dir=place)), count()
    _clear(place, flat, numbers)
    for number in count():
        folder = flat / str(number)
        if not folder.exists():
            break
        _clear(folder, flat, numbers)
        folder.rmdir()
    flat.rmdir()
    place.rmdir()


def _clear(folder: Path, flat: Path, numbers: Iterator[int]) -> None:
    """Remove its files and move its folders, but `flat`, there."""
    while entries := [entry for entry in _some(folder) if entry.path != str(flat)]:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).chmod(0o700)  # what may not be written can neither be moved nor emptied
                Path(entry.path).rename(flat / str(next(numbers)))
            else:
                Path(entry.path).unlink()


def _some(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(islice(entries, AT_ONCE))
