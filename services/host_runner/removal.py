"""Removing what scripts left behind, whatever they built: too deep for a path, read-only, a link in its own place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    # every folder is first brought up to the top, so that two are open at once. All by what is open and not by paths,
    # and with the top made ours alone: meanwhile another script of the same user may put links where folders were.
    _open_up(place)
    with _opened(place) as top:
        if os.fstat(top).st_uid != os.geteuid():
            os.fchown(top, os.geteuid(), -1)
        flat, numbers = Path(tempfile.mkdtemp(dir=f"/proc/self/fd/{top}")).name, count()
        with _opened(flat, top) as gathered:
            _clear(top, gathered, numbers, but=flat)
            for number in count():
                try:
                    with _opened(str(number), gathered) as folder:
                        _clear(folder, gathered, numbers)
                except FileNotFoundError:
                    break
                except NotADirectoryError:
                    os.unlink(str(number), dir_fd=gathered)  # by what is open
                else:
                    os.rmdir(str(number), dir_fd=gathered)
        os.rmdir(flat, dir_fd=top)
    place.rmdir()


def _clear(folder: int, gathered: int, numbers: Iterator[int], but: str = "") -> None:
    """Remove its files and move its folders, `but` this one, to where they are gathered."""
    while entries := [entry for entry in _some(folder) if entry.name != but]:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _open_up(entry.name, folder)  # what may not be written can neither be moved nor emptied
                os.rename(entry.name, str(next(numbers)), src_dir_fd=folder, dst_dir_fd=gathered)
            else:
                os.unlink(entry.name, dir_fd=folder)


def _open_up(name: Path | str, within: int | None = None) -> None:
    """Let its owner do everything in this folder, if it is one and no link."""
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        Path(f"/proc/self/fd/{descriptor}").chmod(0o700)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(name: Path | str, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _some(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(islice(entries, AT_ONCE))
