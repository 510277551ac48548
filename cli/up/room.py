"""Room on the disk: looked at before anything is started, since servers on a full disk fail late and say little."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from cli.errors import CliError, ExitCode
from libs.stack.program import ROOTS_HOME

LEAST_BYTES = 200 << 20
"""PostgreSQL's first data are 60 MB; RabbitMQ takes no message when less than 50 MB are free."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_SHUT = {errno.EACCES, errno.EPERM, errno.EROFS}


def require(home: Path, *, own_postgres: bool) -> None:
    """`CliError` when a disk that the system is going to write to is as good as full."""
    places = [home]
    if own_postgres and os.geteuid() == 0:
        places.append(ROOTS_HOME)  # a server of root's has its data there
    for place in places:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        if free < LEAST_BYTES:
            way_out = "free some space there." if place == ROOTS_HOME else "free some space, or use another --home."
            raise CliError(
                ExitCode.NO,
                f"Only {free >> 20} MB are free on the disk of {place}, and Rigbeat needs {LEAST_BYTES >> 20} MB "
                f"to start: {way_out}",
            )


def in_words(error: OSError, home: Path) -> str:
    """What the system says when a file cannot be had, with what a person can do."""
    where = error.filename or home
    if error.errno in _FULL:
        return f"The disk of {where} is full ({error.strerror}): free some space, or use another --home."
    if error.errno in _SHUT:
        return f"{where} cannot be written ({error.strerror}): mend its rights, or use another --home."
    return f"{where} cannot be used ({error.strerror or error}): mend that, or use another --home."
