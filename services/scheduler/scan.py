"""The invariants, checked all the time: a look every minute, told as metrics and in the log.

One of several schedulers looks, whoever holds the lock; the others try again each time, so that another one takes over
when it ends. It has a connection of its own, reads only, and is bounded in each way: by pages, by the time of a
statement and by a short look-back. Whatever goes wrong here is logged and tried again, and firing does not notice.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.invariants import CHECKS, SCAN, Bounds, Look, look
from libs.ledger.pool import DATABASE_AWAY
from libs.ledger.sole import SoleSession
from libs.ledger.statements import STATEMENTS as LEDGER
from libs.schedule.errors import CronError
from services.scheduler import metrics
from services.scheduler.findings import Checks, News, Round, news, pause
from services.scheduler.settings import Settings

log = get_logger(__name__)

_PUT_OFF = (*DATABASE_AWAY, asyncpg.PostgresError, CronError)
"""Every error of the database, and a schedule that cannot be read any more (its zone is gone): a check that cannot run
must not end the firing.
"""

_INVARIANT_OF = {name: invariant for invariant, names in CHECKS.items() for name in names}


class Outcome(StrEnum):
    """What became of a look."""

    DONE = "done"
    ELSEWHERE = "elsewhere"
    FAILED = "failed"


class Scanner(Part):
    """The loop."""

    name = "scan"

    def __init__(self, url: str, settings: Settings, *, bounds: Bounds = SCAN) -> None:
        super().__init__()
        self._every = settings.scan_seconds
        self._period = timedelta(seconds=settings.scan_period_seconds)
        self._bounds = bounds
        # A process that is stopped, not ended, must not keep the others from looking.
        self._session = SoleSession(
            url, application="rigbeat-scheduler-scan", lock="ledger.scan", idle_seconds=2 * self._every + 60
        )
        self._round = Round()
        self._shown: Checks = {}
        self._after: UUID | None = None

    async def run(self) -> None:
        """Look until told to stop."""
        try:
            while not self.stopping.is_set():
                try:
                    await asyncio.wait_for(self.stopping.wait(), pause(time.time() % 60, self._every))
                except TimeoutError:
                    await self.scan()
        finally:
            await self._session.close()

    async def scan(self) -> Outcome:
        """One look, unless another scheduler is at it. Raises nothing that the database may raise."""
        try:
            outcome = await self._scan()
        except _PUT_OFF as error:
            log.warning("A look at the invariants was put off", error=f"{type(error).__name__}: {error}")
            await self._session.close()
            outcome = Outcome.FAILED
        metrics.SCANS.labels(outcome).inc()
        return outcome

    async def _scan(self) -> Outcome:
        connection = await self._session.connection()
        if connection is None:
            self._forget()
            return Outcome.ELSEWHERE
        began = time.monotonic()
        found = await self._look(connection)
        metrics.SCAN_SECONDS.observe(time.monotonic() - began)
        self._tell(found)
        metrics.SCANNED.set_to_current_time()
        return Outcome.DONE

    async def _look(self, connection: asyncpg.Connection[asyncpg.Record]) -> Look:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            moment = await connection.fetchrow(LEDGER.ledger_now)
            assert moment is not None
            now: datetime = moment["now"]
            return await look(connection, now=now, since=now - self._period, bounds=self._bounds, after=self._after)

    def _tell(self, found: Look) -> None:
        self._after = found.after
        self._round, shown = self._round.add(found)
        for what, check in news(self._shown, shown):
            about = {"invariant": _INVARIANT_OF[check.name], "check": str(check.name)}
            match what:
                case News.GONE:
                    log.info("A check of the invariants is well again", **about)
                case News.FOUND:
                    log.warning("A check of the invariants fails", **about, rows=check.rows, examples=check.examples)
                case News.CHANGED:
                    log.warning("A check fails in another way", **about, rows=check.rows, examples=check.examples)
        self._shown = shown
        for check in shown.values():
            metrics.VIOLATIONS.labels(_INVARIANT_OF[check.name], check.name).set(check.rows)

    def _forget(self) -> None:
        """Nothing is known any more: who looks now shows what there is."""
        self._round, self._shown, self._after = Round(), {}, None
        metrics.VIOLATIONS.clear()
