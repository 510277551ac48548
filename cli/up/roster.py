"""Who runs, as the file for everybody says it; brought up to date from several threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from cli import processes
from cli.home import Home
from libs.contracts import rfc3339
from libs.stack.process import Child


class Roster:
    """`HOME/processes.json`, in a fixed order of names."""

    def __init__(self, home: Home, order: Sequence[str]) -> None:
        self._home = home
        self._order = order
        self._entries: dict[str, processes.Process] = {}
        self._lock = threading.Lock()

    def record(self, name: str, child: Child, port: int | None) -> None:
        """It runs, as this process."""
        entry = processes.Process(
            name=name,
            pid=child.pid,
            port=port,
            started_at=rfc3339(datetime.fromtimestamp(child.started_at, UTC)),
            start_ticks=processes.start_ticks(child.pid),
        )
        with self._lock:
            self._entries[name] = entry
            processes.write(self._home, sorted(self._entries.values(), key=lambda e: self._order.index(e.name)))
