"""What only time does: expiring locks and waits, finding new scripts, forgetting what was kept long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import ScriptInfo
from services.host_runner.clock import Moment
from services.host_runner.concurrency import pause
from services.host_runner.outbound import Outbound
from services.host_runner.removal import remove
from services.host_runner.runner import Runner

TICK_SECONDS = 0.5
LOOK_FOR_SCRIPTS_EVERY = timedelta(seconds=10)
FORGET_EVERY = timedelta(minutes=10)

log = get_logger(__name__)


class Upkeep(Part):
    """Ticks, for as long as the process lives. `steady`: seconds by a clock that nobody can set and that never stands
    still, not even while the host sleeps, so that waking up is no setting of the clock.
    """

    name = "upkeep"

    def __init__(
        self,
        runner: Runner,
        outbound: Outbound,
        *,
        list_scripts: Callable[[], tuple[ScriptInfo, ...]],
        folders: tuple[Path, ...],
        keep_files: timedelta,
        steady: Callable[[], float],
    ) -> None:
        super().__init__()
        self._runner = runner
        self._outbound = outbound
        self._list_scripts = list_scripts
        self._folders = folders
        self._keep_files = keep_files
        self._steady = steady
        self._last = Moment(runner.now(), steady())
        # A trigger may come between a jump and the next tick, and would be judged by an offset that holds no more.
        runner.look_at_clock_with(self._look_at_clock)

    async def run(self) -> None:
        """The body."""
        looked_at: datetime | None = None
        forgot_at: datetime | None = None
        while not self.stopping.is_set():
            now = self._look_at_clock()
            self._runner.tick()
            if _is_due(looked_at, LOOK_FOR_SCRIPTS_EVERY, now):
                looked_at = now
                self._outbound.offer(await asyncio.to_thread(self._list_scripts))
            if _is_due(forgot_at, FORGET_EVERY, now):
                forgot_at = now
                await self._forget(now)
            await pause(TICK_SECONDS, self.stopping)

    async def _forget(self, now: datetime) -> None:
        for execution in self._runner.journal.removable(now - self._keep_files):
            for folder in self._folders:
                await asyncio.to_thread(remove, folder / str(execution))
            self._runner.journal.removed(execution)
        # Looked at again: while files were removed it may have been set, and read.
        self._runner.forget(self._look_at_clock())

    def _look_at_clock(self) -> datetime:
        moment, before = Moment(self._runner.now(), self._steady()), self._last
        self._last = moment
        if moment.is_after_a_step(before):
            self._runner.clock_was_set()
        return moment.wall


def _is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    # A clock that was set back must not stop the upkeep until it has caught up.
    return last is None or not timedelta() <= now - last < every
