"""Pausing what would fire where it may not any more: on a revoked host, or on one that is shared with its team no more.

By who fires, not by who revokes: so nothing is forgotten when the API dies in between, or when something was just being
created or resumed. Several schedulers may do this at once; the row locks share the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import DeploymentStatus, Reason
from libs.ledger import decisions, pausing
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Connection, Pool
from libs.ledger.rows import DeploymentRow
from services.scheduler import metrics
from services.scheduler.statements import STATEMENTS
from services.scheduler.turn import turn

log = get_logger(__name__)

EVERY_SECONDS = 5.0
AT_ONCE = 100


class Barrier(Part):
    """The loop. Woken when a host is revoked or shared, and looking by itself besides."""

    name = "barred"

    def __init__(self, pool: Pool, *, wake: asyncio.Event) -> None:
        super().__init__()
        self._pool = pool
        self._wake = wake

    async def run(self) -> None:
        """Look until told to stop."""
        told_to_stop = asyncio.create_task(self.stopping.wait())
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                if await self.look() == AT_ONCE:
                    continue
                self.ready = True
            except CONTENDED as error:
                log.info("Somebody else was first, looking again", error=str(error))
                continue
            except DATABASE_AWAY as error:
                self.ready = False
                log.warning("A look at what is barred was put off", error=str(error))
            woken = asyncio.create_task(self._wake.wait())
            await asyncio.wait({woken, told_to_stop}, timeout=EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
        told_to_stop.cancel()

    async def look(self) -> int:
        """One bounded step, in one transaction; answers how many deployments it dealt with."""
        async with turn(self._pool, STATEMENTS.barred, AT_ONCE) as ours:
            if ours is None:
                return 0
            connection, records, now, ledger_epoch = ours.connection, ours.records, ours.now, ours.ledger_epoch
            # As before every change: what was due before it gets its rows (`skipped`, see `decisions.write_fires`).
            active = [DeploymentRow.of(record) for record in records if record["status"] == DeploymentStatus.ACTIVE]
            written = await decisions.decide_due(connection, active, now=now, ledger_epoch=ledger_epoch)
            left = await self._same(connection, records)
            fires = [record for record in left if record["status"] == DeploymentStatus.ACTIVE]
            await pausing.pause(
                connection,
                [(DeploymentRow.of(record), _why(record), not record["is_revoked"]) for record in fires],
                now=now,
                ledger_epoch=ledger_epoch,
            )
            expired = [record["id"] for record in left if record["status"] == DeploymentStatus.EXPIRED]
            await pausing.drop_held(connection, expired, Reason.EXPIRED, now)
        metrics.FIRES.labels("skipped").inc(written.skipped)
        if fires:
            log.warning("What fired where it may not any more is paused", deployments=len(fires))
        return len(records)

    async def _same(self, connection: Connection, records: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        ids = {record["id"] for record in records}
        again = await connection.fetch(STATEMENTS.barred, AT_ONCE)
        return [record for record in again if record["id"] in ids]


def _why(record: asyncpg.Record) -> str:
    host = record["host_name"]
    return f"The host {host} is revoked" if record["is_revoked"] else f"The team may not use the host {host} any more"
