"""Metrics of several processes as one: each writes to files of a directory, and any of them reads all.

For a parent whose children answer on one port: whichever is asked must answer for all. What a child has counted stays
when it ends; its gauges go with it. The parent itself, which measures nothing, is not among them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from libs.chassis.lifecycle import Part

_NAME = "rigbeat-metrics-"
_LOCK = "lock"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""What the library reads, once, when it is imported: so it must be in the environment when a child is started."""


class SharedMetrics(Part):
    """A directory, empty at the start and gone at the end, that children started meanwhile measure into.

    It lies where temporary files do, for this user alone. What a killed parent left behind is removed by the next one.
    """

    name = "shared-metrics"

    def __init__(self) -> None:
        super().__init__()
        self._directory: Path | None = None
        self._lock: int | None = None

    async def start(self) -> None:
        """Make it. `OSError` if that cannot be."""
        if self._directory is None and not self.stopping.is_set():
            self._directory, self._lock = _make(Path(tempfile.gettempdir()))
            os.environ[VARIABLE] = str(self._directory)  # noqa: TID251  # written for the children, read by no service
        await super().start()

    async def run(self) -> None:
        """Be there until told to stop."""
        await self.stopping.wait()

    async def stop(self, within: float) -> None:
        """Remove it; the children must have ended."""
        await super().stop(within)
        if self._directory is not None and self._lock is not None:
            os.environ.pop(VARIABLE, None)  # noqa: TID251  # as above
            shutil.rmtree(self._directory, ignore_errors=True)
            os.close(self._lock)
            self._directory = self._lock = None

    def forget(self, pid: int) -> None:
        """The gauges of a child that has ended."""
        if self._directory is not None:
            mark_process_dead(pid, str(self._directory))  # type: ignore[no-untyped-call]


def _make(place: Path) -> tuple[Path, int]:
    """The directory, and the descriptor that holds its lock."""
    _sweep(place)
    # Locked before it has the name by which others look for what is left.
    draft = Path(tempfile.mkdtemp(prefix=f".{_NAME}", dir=place))
    lock = os.open(draft / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return draft.rename(draft.with_name(draft.name.removeprefix("."))), lock


def _sweep(place: Path) -> None:
    """Whoever made a directory holds its lock for as long as it lives."""
    for left in place.glob(f"{_NAME}*"):
        if left.is_symlink() or not left.is_dir() or left.stat().st_uid != os.getuid():
            continue
        try:
            lock = os.open(left / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # its maker's end came at once
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
