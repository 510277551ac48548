"""A script under its shim: it outlives the runner, is started once, and says at the end how it went, or is killed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.contracts import Trigger
from services.host_runner.core.ending import Ending


@dataclass(slots=True, eq=False)
class Shim:
    """What a host's disk and process table know of one execution. Times are in the host's clock.

    It exists from the exclusive start mark on. `ending` is the status that the shim wrote; a dead shim without one left
    `is_tree_alive` behind.
    """

    trigger: Trigger
    started_at: datetime | None = None
    ending: Ending | None = None
    is_dead: bool = False
    is_tree_alive: bool = False
    is_ending: bool = False

    @property
    def is_over(self) -> bool:
        """Whether there is something to wait for no more: it said how it ended, or it is dead."""
        return self.ending is not None or self.is_dead
