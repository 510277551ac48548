"""The file of the deployments log: of our own only, rotated, and read on by who follows it.

At `MAX_BYTES` its lines move to `….1` (and those to `….2`, up to `BACKUPS`); the file itself stays the same one, so
that `tail -f` goes on, and begins anew with its head.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from libs.chassis.logs import get_logger

MAX_BYTES = 10 << 20
BACKUPS = 5

log = get_logger(__name__)


class LogFile(RotatingFileHandler):
    """Appends lines. Raises `OSError` when it cannot be opened, or when it is not a file of this user's own: in a
    folder that all may write to, such as /tmp, another's link could lead it into any file.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=BACKUPS, encoding="utf-8")
        self.head = ""
        """Lines, each with its newline, that each new beginning repeats."""
        self._step = max_bytes
        self.rotator = _copy_and_empty

    def append(self, line: str) -> None:
        """Write one line. Never fails: what the disk refuses is told on standard error."""
        self._find_again()
        self.handle(logging.makeLogRecord({"msg": line}))

    def doRollover(self) -> None:  # noqa: N802 - the name is given
        """Begin anew; when the old lines cannot be kept apart, go on in the same file."""
        try:
            super().doRollover()
            self.maxBytes = self._step
        except OSError as error:
            self.maxBytes += self._step
            log.warning("The deployments log cannot be rotated", path=self.baseFilename, error=str(error))
            return
        if self.stream is not None:
            self.stream.write(self.head)

    def _find_again(self) -> None:
        """Begin a new file where somebody has moved or removed ours; where that cannot be, go on in the old one."""
        if self.stream is None:
            return
        ours = os.fstat(self.stream.fileno())
        try:
            there = os.lstat(self.baseFilename)
        except FileNotFoundError:
            there = None
        except OSError:
            return
        if there is not None and os.path.samestat(ours, there):
            return
        with suppress(OSError):
            fresh = self._open()
            old, self.stream = self.stream, fresh
            if not os.fstat(fresh.fileno()).st_size:
                fresh.write(self.head)
            old.close()

    def _open(self) -> TextIOWrapper:
        flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o644)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_nlink != 1:
            os.close(descriptor)
            raise PermissionError(f"{self.baseFilename} is not a file of this user's own")
        return os.fdopen(descriptor, "a", encoding=self.encoding)


def open_log(path: Path, state_dir: Path, max_bytes: int = MAX_BYTES) -> LogFile:
    """The log at `path`; where that cannot be, one in the state directory instead, with a warning."""
    try:
        return LogFile(path, max_bytes=max_bytes)
    except OSError as error:
        instead = state_dir / "deployments.log"
        log.warning("the deployments log cannot be opened", path=str(path), error=str(error), instead=str(instead))
        return LogFile(instead, max_bytes=max_bytes)


def _copy_and_empty(source: str, kept: str) -> None:
    """Not renamed: who follows the file with `tail -f` would go on looking at the old one."""
    with os.fdopen(os.open(source, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as lines:
        with Path(kept).open("xb") as copy:  # never through another's link
            shutil.copyfileobj(lines, copy)
        lines.truncate(0)
