"""Small disks, for what must be able to run full: memory file systems where servers and hosts keep their data."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.place import place_of
from libs.stack.process import run

SIZES = {"postgres": "320m", "rabbitmq": "160m", "hosts": "48m", "artifacts": "16m"}
FILLER = "filler"


@dataclass(frozen=True)
class Places:
    """Directories for the servers; each disk's mount point by name."""

    postgres: Path
    rabbitmq: Path
    mounts: dict[str, Path]


def small_disks(folder: Path) -> Places:
    """Mount them below the stage's folder. Raises `StackError` where that may not be."""
    postgres, rabbitmq = folder / "servers" / "postgres", folder / "servers" / "rabbitmq"
    data = place_of(postgres)
    mounts = {
        "postgres": data.parent,
        "rabbitmq": rabbitmq,
        "hosts": folder / "hosts",
        "artifacts": folder / "artifacts",
    }
    places = Places(postgres, rabbitmq, mounts)
    for name, place in mounts.items():
        place.mkdir(parents=True, exist_ok=True)
        made = run(["/bin/mount", "-t", "tmpfs", "-o", f"size={SIZES[name]}", "none", place], within=10)
        if made.code != 0:
            unmount(places)
            raise StackError(f"no small disk can be mounted on {place} ({made.tail()})")
    data.parent.chmod(0o755)
    return places


def unmount(places: Places) -> None:
    """Take them away again."""
    for place in places.mounts.values():
        run(["/bin/umount", "--lazy", place], within=10)
        with contextlib.suppress(OSError):  # it was never mounted, and has something in it
            place.rmdir()


@contextlib.contextmanager
def full(place: Path) -> Iterator[None]:
    """The disk is full to the last byte until the end of the block."""
    filler = place / FILLER
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0")
    try:
        yield
    finally:
        os.unlink(filler)  # noqa: PTH108
