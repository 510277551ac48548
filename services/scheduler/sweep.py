"""Looking after what got stuck between two processes: late in the outbox, lost by the broker, taken by a lost host.

Every look is a bounded, guarded statement, so several schedulers may sweep at once. Endings written here are presumed:
the host's own word, whenever it comes, replaces them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import Resend, Void, manual_id
from libs.ledger import decisions
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Connection, Pool
from libs.ledger.statements import STATEMENTS as LEDGER
from services.scheduler import metrics
from services.scheduler.settings import Settings
from services.scheduler.statements import STATEMENTS

log = get_logger(__name__)

_HOUSEKEEPING_EVERY = 12
"""Every so many sweeps: retention and partitions."""

_REPEATED_KEEP_SECONDS = 32 * 86_400.0
"""Endings that hosts repeated are kept longer than anybody asks about them (`rigbeat verify`: 31 days)."""

_JUMP_SECONDS = 5.0
"""A larger difference between the database's clock and ours, from one sweep to the next, is a jump."""


class Sweeper(Part):
    """The loop."""

    name = "sweep"

    def __init__(self, pool: Pool, settings: Settings, *, wake_outbox: asyncio.Event) -> None:
        super().__init__()
        self._pool = pool
        self._settings = settings
        self._wake_outbox = wake_outbox
        self._clocks: tuple[float, float] | None = None
        self._steady_from = 0.0
        self._results_waited = False
        self._unsaid: dict[UUID, float] = {}
        """When of these executions first something was unsaid, by the monotonic clock."""

    async def run(self) -> None:
        """Sweep until told to stop."""
        turn = 0
        while not self.stopping.is_set():
            try:
                await self.sweep()
                if turn % _HOUSEKEEPING_EVERY == 0:
                    await self.keep_house()
                turn += 1
            except (*CONTENDED, *DATABASE_AWAY) as error:
                log.warning("A sweep was put off", error=str(error))
            try:
                await asyncio.wait_for(self.stopping.wait(), self._settings.sweep_seconds)
            except TimeoutError:
                continue

    async def sweep(self) -> None:
        """One look at everything."""
        offline = self._settings.offline_seconds
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                await self._end_late(connection)
            is_steady = await self._clock_is_steady(connection)
            if await self._results_wait(connection, offline):
                self._unsaid.clear()  # it may be among what waits: counted anew when that is read
                return
            if is_steady:
                await self._presume(connection, offline)
            again = await connection.fetch(STATEMENTS.republish, self._settings.republish_seconds, offline)
            asked = await connection.fetch(STATEMENTS.republish_commands, self._settings.republish_seconds, offline)
            async with connection.transaction():
                unsaid = self._for_long(
                    await connection.fetch(STATEMENTS.unsaid, self._settings.republish_seconds, offline)
                )
                await self._ask_again(connection, {record["host_name"]: record["team_id"] for record in unsaid})
        if unsaid:
            log.warning("Hosts say again what was lost on its way", hosts=[record["host_name"] for record in unsaid])
        if asked:
            metrics.REPUBLISHED_COMMANDS.inc(len(asked))
            log.warning("Commands are sent again: their hosts are online and did not answer", commands=len(asked))
            self._wake_outbox.set()
        if again:
            metrics.REPUBLISHED.inc(len(again))
            log.warning("Triggers are sent again: their hosts are online and did not take them", triggers=len(again))
            self._wake_outbox.set()

    def _for_long(self, unsaid: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Those of which something is unsaid for a while: what devices do is heard before what waits in the results."""
        now = time.monotonic()
        self._unsaid = {
            identity: self._unsaid.get(identity, now) for record in unsaid for identity in record["executions"]
        }
        patience = self._settings.republish_seconds / 4
        return [record for record in unsaid if any(now - self._unsaid[one] >= patience for one in record["executions"])]

    async def _results_wait(self, connection: Connection, offline: float) -> bool:
        wait = bool(await connection.fetchval(STATEMENTS.results_wait, offline))
        if wait and not self._results_waited:
            log.warning("What hosts said waits to be read: until then none is asked again or given up")
        self._results_waited = wait
        return wait

    async def _presume(self, connection: Connection, offline: float) -> None:
        margin = self._settings.host_lost_margin_seconds
        async with connection.transaction():
            await self._presumed(connection, await connection.fetch(STATEMENTS.presume_missed, offline), "missed")
        async with connection.transaction():
            lost = await connection.fetch(STATEMENTS.presume_lost, offline, margin)
            await self._presumed(connection, lost, "host_lost", void=False)
            await self._ask_again(connection, {r["host_name"]: r["team_id"] for r in lost if r["online"]})

    async def _end_late(self, connection: Connection) -> None:
        late = await connection.fetch(STATEMENTS.late)
        if late:
            await connection.execute(STATEMENTS.lock_executions, [record["execution_id"] for record in late])
            ended = await connection.fetch(STATEMENTS.end_late, [record["id"] for record in late])
            await self._presumed(connection, ended, "missed")

    async def _ask_again(self, connection: Connection, hosts: Mapping[str, UUID]) -> None:
        """What these hosts said was lost on its way: they send their kept events once more."""
        now = await connection.fetchval(STATEMENTS.clock)
        await enclose(
            connection,
            [
                Parcel(team, Resend(command_id=manual_id(now, os.urandom(10)), host=host))
                for host, team in hosts.items()
            ],
        )

    async def _clock_is_steady(self, connection: Connection) -> bool:
        """Whether the database's clock ran with ours since the last look, and so long before that hosts could be heard.

        After a jump every host looks silent until its next heartbeat; nobody may be given up for that.
        """
        ours, theirs = time.monotonic(), (await connection.fetchval(STATEMENTS.clock)).timestamp()
        before, self._clocks = self._clocks, (ours, theirs)
        if before is None or abs((theirs - before[1]) - (ours - before[0])) > _JUMP_SECONDS:
            self._steady_from = ours + self._settings.offline_seconds
        return ours >= self._steady_from

    async def keep_house(self) -> None:
        """Partitions ahead, and an end to what nobody needs any more."""
        async with self._pool.acquire() as connection:
            await connection.execute(STATEMENTS.ensure_partitions)
            for statement, keep in (
                (STATEMENTS.forget_outbox, self._settings.outbox_keep_seconds),
                (STATEMENTS.forget_feed, self._settings.feed_keep_seconds),
                (STATEMENTS.forget_repeated, _REPEATED_KEEP_SECONDS),
            ):
                # In steps, each a transaction of its own, until there is nothing left that is old.
                while not self.stopping.is_set() and await connection.execute(statement, keep) != "DELETE 0":
                    continue

    async def _presumed(
        self, connection: Connection, records: Sequence[asyncpg.Record], reason: str, *, void: bool = True
    ) -> None:
        if not records:
            return
        clock = await connection.fetchrow(LEDGER.ledger_now)
        assert clock is not None
        if void:
            await enclose(
                connection,
                [
                    Parcel(
                        record["team_id"],
                        Void(
                            command_id=manual_id(clock["now"], os.urandom(10)),
                            host=record["host_name"],
                            execution_id=record["id"],
                            deployment_id=record["deployment_id"],
                        ),
                    )
                    for record in records
                ],
            )
        await decisions.note(connection, [(r["team_id"], "execution", str(r["id"])) for r in records])
        metrics.PRESUMED.labels(reason).inc(len(records))
        log.warning("Endings presumed", reason=reason, executions=len(records))
