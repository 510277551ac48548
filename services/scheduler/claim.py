"""Firing: claim what is due, decide, write, commit. Several schedulers do this at once; the row locks share the work.

The loop sleeps until the earliest `next_due_at`, at most 5 s, and is woken by NOTIFY. Due rows that it could not claim
(another scheduler or an edit holds them) are tried again after 20 ms, doubling to 500 ms. Time is the database's.
Between two claims, when nothing more is due, it releases what is held and writes down what was missed, step by step.
"""

from __future__ import annotations

import asyncio
import time

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger import decisions
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Pool
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS as LEDGER
from libs.schedule.plan import Backlog, missed
from services.scheduler import metrics
from services.scheduler.release import DEPLOYMENTS_AT_ONCE, release
from services.scheduler.statements import STATEMENTS
from services.scheduler.turn import turn

log = get_logger(__name__)

LONGEST_SLEEP_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.02
LONGEST_RETRY_SECONDS = 0.5


class Claimer(Part):
    """The firing loop."""

    name = "claim"

    def __init__(self, pool: Pool, *, batch: int, wake: asyncio.Event) -> None:
        super().__init__()
        self._pool = pool
        self._batch = batch
        self._wake = wake

    async def run(self) -> None:
        """Claim until told to stop; a batch that has begun is finished."""
        retries = delays(FIRST_RETRY_SECONDS, 2, LONGEST_RETRY_SECONDS)
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                claimed = await self.claim()
                if claimed == self._batch:
                    continue
                pause, is_held = await self._pause()
                if is_held and await release(self._pool) == DEPLOYMENTS_AT_ONCE:
                    continue
                if pause <= 0:
                    pause = next(retries) if claimed == 0 else 0.0
                else:
                    retries = delays(FIRST_RETRY_SECONDS, 2, LONGEST_RETRY_SECONDS)
                    if await self.write_missed():
                        continue
                self.ready = True
            except CONTENDED as error:
                log.info("Somebody else was first, claiming again", error=str(error))
                pause = FIRST_RETRY_SECONDS
            except DATABASE_AWAY as error:
                self.ready = False
                pause = next(retries)
                log.warning("The database is away", error=str(error), again_in_seconds=pause)
            await self._sleep(pause)

    async def claim(self) -> int:
        """One batch, in one transaction; answers how many deployments were claimed."""
        began = time.monotonic()
        async with turn(self._pool, STATEMENTS.claim, self._batch) as ours:
            if ours is None:
                return 0
            now, rows = ours.now, [DeploymentRow.of(record) for record in ours.records]
            written = await decisions.decide_due(ours.connection, rows, now=now, ledger_epoch=ours.ledger_epoch)
        metrics.CLAIM_SECONDS.observe(time.monotonic() - began)
        metrics.FIRES.labels("triggered").inc(written.triggered)
        metrics.FIRES.labels("skipped").inc(written.skipped)
        for row in rows:
            if row.next_fire_at is not None and row.next_fire_at <= now:
                metrics.LATE_SECONDS.observe((now - row.next_fire_at).total_seconds())
        log.info("Fired", deployments=len(rows), triggered=written.triggered, skipped=written.skipped)
        return len(rows)

    async def write_missed(self) -> bool:
        """One bounded step of one backlog; answers whether there was one. Only done while nothing is due."""
        async with self._pool.acquire() as connection, connection.transaction():
            record = await connection.fetchrow(STATEMENTS.backlog)
            if record is None:
                return False
            owner = await connection.fetchrow(STATEMENTS.deployment, record["deployment_id"])
            clock = await connection.fetchrow(LEDGER.ledger_now)
            assert owner is not None
            assert clock is not None
            fires, rest = missed(
                Backlog(record["from_at"], record["until_at"]),
                record["cron_expression"],
                record["timezone"],
                now=clock["now"],
                window=record["window_seconds"],
            )
            row = DeploymentRow.of(owner)
            written = await decisions.write_fires(
                connection, [(row, fire) for fire in fires], now=clock["now"], ledger_epoch=clock["ledger_epoch"]
            )
            if rest is None:
                await connection.execute(STATEMENTS.end_backlog, record["id"])
            else:
                await connection.execute(STATEMENTS.shorten_backlog, record["id"], rest.from_at)
        metrics.FIRES.labels("skipped").inc(written.skipped)
        log.info("Wrote missed fires", deployment=row.name, rows=written.skipped, left=rest is not None)
        return True

    async def _pause(self) -> tuple[float, bool]:
        """Seconds until something is due, and whether any fire is held."""
        look = await self._pool.fetchrow(STATEMENTS.earliest)
        assert look is not None
        seconds = LONGEST_SLEEP_SECONDS if look["seconds"] is None else min(look["seconds"], LONGEST_SLEEP_SECONDS)
        return seconds, look["held"]

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        waiting = [asyncio.create_task(self._wake.wait()), asyncio.create_task(self.stopping.wait())]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
