"""Checking I1, I2, I4, I5 and I7 on the ledger of a live system, with bounded work.

All of it in one snapshot: a decision and its row, a count and what is counted, are written in one transaction, so they
need no grace. What travels (events in the broker, heartbeats) gets one, and each finding says how long it is.

What grows with the number of deployments (I1, and the counts of I5) is looked at a page at a time; all else is served
by indexes of what is open or recent, whole.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.contracts import DeploymentStatus, first_id
from libs.invariants.bounds import ON_REQUEST, Bounds
from libs.invariants.finding import CHECKS, Check, CheckName, Finding, check
from libs.invariants.fires import History, Interval, Misfits, Period, Rows, broken_of_all
from libs.invariants.statements import STATEMENTS
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS as LEDGER

CHECKED = tuple(CHECKS)
DEFAULT_PERIOD = timedelta(hours=24)

MOVING_SECONDS = 60.0
"""What one event may overtake another on its way through the broker, or a heartbeat lag behind."""
CLOCK_SECONDS = 2.0
"""Times of one host are set by its own clock, whose offset is measured anew each minute."""
STUCK_SECONDS = 600.0
"""Beyond what a run, a window or a wait may take, and what the sweep takes to give it up."""
UNDECIDED_SECONDS = 120.0
"""A due fire is decided within this, unless no scheduler is there."""
HEARD_SECONDS = 30.0
"""Of a host that was not heard for longer, nobody knows what its devices do."""
HELD_SECONDS = 900.0
"""Firing is held after a restore for less than this, unless `rigbeat recover` broke off."""

_DEPLOYMENTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Look:
    """The findings, in the order of `CHECKED`; after which deployment the next page begins, None after the last one."""

    findings: tuple[Finding, ...]
    after: UUID | None


async def verify(connection: Connection, *, now: datetime, since: datetime | None = None) -> tuple[Finding, ...]:
    """All of it at once; `since` (default: a day before `now`) is where the looking begins. As `look`."""
    return (await look(connection, now=now, since=since or now - DEFAULT_PERIOD, bounds=ON_REQUEST)).findings


async def look(
    connection: Connection, *, now: datetime, since: datetime, bounds: Bounds, after: UUID | None = None
) -> Look:
    """Check what happened from `since` on and what is so now; of the deployments, the page behind `after`.

    What is older than the ledger keeps is not looked at. The caller sees all teams and has begun a REPEATABLE READ
    transaction. Raises what asyncpg raises.
    """
    kept_from = await connection.fetchval(LEDGER.kept_from, "executions")
    if kept_from is not None:
        since = max(since, kept_from)  # of what was before, the rows are gone
    since = since.replace(second=0, microsecond=0)
    page = await _fires(connection, since, now, bounds, after)
    letters = await _found(connection, CheckName.FACTS_WITHOUT_EXECUTION, bounds.letters)
    findings = (
        Finding("I1", (*page.checks(), letters), page.note(since)),
        await _one_at_a_time(connection, since, now),
        await _one_ending(connection, since),
        await _limit(connection, since, bounds, after, page.last),
        await _nothing_stuck(connection, now),
    )
    return Look(findings, page.last)


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of I1. `last`: the last deployment of it, None if there are no more."""

    misfits: Misfits
    deployments: int
    last: UUID | None

    def checks(self) -> tuple[Check, ...]:
        """One for each way in which a row may not fit."""
        return (
            check(CheckName.MISSING_FIRES, self.misfits.missing),
            check(CheckName.EXTRA_FIRES, self.misfits.extra),
            check(CheckName.MISNAMED_FIRES, self.misfits.misnamed),
        )

    def note(self, since: datetime) -> str:
        """What was looked at."""
        if self.last is not None:
            return f"Only {self.deployments} deployments: ask for a shorter period."
        return f"{self.deployments} deployments since {since:%Y-%m-%d %H:%M} UTC, no grace."


async def _fires(connection: Connection, since: datetime, now: datetime, bounds: Bounds, after: UUID | None) -> _Page:
    misfits, looked_at, deployments = Misfits(), 0, 0
    period = Period(since, now)
    while looked_at < bounds.fires and deployments < bounds.deployments:
        found = await connection.fetch(
            STATEMENTS.fires_deployments, after, since, first_id(since), _DEPLOYMENTS_AT_ONCE
        )
        if found:
            after = found[-1]["id"]
            deployments += len(found)
            histories = await _histories(connection, found)
            written = await _rows(connection, [record["id"] for record in found], since)
            looked_at += sum(len(each.fires) for each in written.values()) + len(found)
            # In a thread: a day of a thousand deployments are more than a million fires, and others wait for this loop.
            misfits += await asyncio.to_thread(broken_of_all, histories, written, period)
        if len(found) < _DEPLOYMENTS_AT_ONCE:
            return _Page(misfits, deployments, None)
    return _Page(misfits, deployments, after)


async def _rows(connection: Connection, ids: Sequence[UUID], since: datetime) -> dict[UUID, Rows]:
    return {
        record["deployment_id"]: Rows(
            frozenset(record["fires"] or ()),
            frozenset(record["told_by_host"] or ()),
            frozenset(record["misnamed"] or ()),
        )
        for record in await connection.fetch(STATEMENTS.fires_rows, ids, first_id(since))
    }


async def _histories(connection: Connection, deployments: Sequence[asyncpg.Record]) -> list[History]:
    ids = [record["id"] for record in deployments]
    intervals: dict[UUID, list[Interval]] = defaultdict(list)
    for record in await connection.fetch(STATEMENTS.fires_versions, ids):
        values = dict(record)
        values["status"] = DeploymentStatus(values["status"])
        intervals[values.pop("deployment_id")].append(Interval(**values))
    backlogs: dict[UUID, list[tuple[datetime, datetime]]] = defaultdict(list)
    for record in await connection.fetch(STATEMENTS.fires_backlogs, ids):
        backlogs[record["deployment_id"]].append((record["from_at"], record["until_at"]))
    return [
        History(
            each["id"], each["name"], tuple(intervals[each["id"]]), each["next_fire_at"], tuple(backlogs[each["id"]])
        )
        for each in deployments
    ]


async def _one_at_a_time(connection: Connection, since: datetime, now: datetime) -> Finding:
    settled = now - timedelta(seconds=MOVING_SECONDS)
    checks = (
        await _found(connection, CheckName.TWO_AT_ONCE, settled),
        await _found(connection, CheckName.OVERLAPPING_RUNS, first_id(since), settled, CLOCK_SECONDS),
        await _found(connection, CheckName.OVERLAPPING_WAITS, first_id(since), settled, CLOCK_SECONDS),
    )
    note = f"Grace: {MOVING_SECONDS:.0f} s for what is in motion, {CLOCK_SECONDS:.0f} s for a host's clock."
    return Finding("I2", checks, note)


async def _one_ending(connection: Connection, since: datetime) -> Finding:
    checks = (
        await _found(connection, CheckName.CONTRADICTORY_ENDINGS, first_id(since)),
        await _found(connection, CheckName.REPEATED_IDS, since),
    )
    presumed = await connection.fetchval(STATEMENTS.presumed, first_id(since))
    return Finding("I4", checks, f"{presumed} endings are presumed: the host's word may still replace them.")


async def _limit(
    connection: Connection, since: datetime, bounds: Bounds, after: UUID | None, last: UUID | None
) -> Finding:
    checks = (
        await _found(connection, CheckName.WRONG_COUNTS, since, bounds.counted, after, last),
        await _found(connection, CheckName.OVER_LIMIT, bounds.limited),
    )
    return Finding("I5", checks, f"Deployments that changed or ran since {since:%Y-%m-%d %H:%M} UTC, no grace.")


async def _nothing_stuck(connection: Connection, now: datetime) -> Finding:
    stuck, moving = now - timedelta(seconds=STUCK_SECONDS), now - timedelta(seconds=MOVING_SECONDS)
    heard = now - timedelta(seconds=HEARD_SECONDS)
    checks = (
        await _found(connection, CheckName.STUCK_EXECUTIONS, stuck),
        await _found(connection, CheckName.HELD_FOR_NOTHING, stuck),
        await _found(connection, CheckName.UNSENT_MESSAGES, stuck),
        await _found(connection, CheckName.LOCKS_OF_FINISHED_RUNS, moving, heard),
        await _found(connection, CheckName.EXPIRED_LOCKS, moving, heard),
        await _found(connection, CheckName.OVERDUE_FIRES, now - timedelta(seconds=UNDECIDED_SECONDS)),
        await _found(connection, CheckName.FIRING_HELD, now - timedelta(seconds=HELD_SECONDS)),
    )
    note = f"Grace: {STUCK_SECONDS:.0f} s beyond its time for a run or a message, {MOVING_SECONDS:.0f} s for a device."
    return Finding("I7", checks, note)


async def _found(connection: Connection, name: CheckName, *parameters: object) -> Check:
    """The statement of this name: how many rows it found (its column `rows`), and the sentences of the first."""
    records = await connection.fetch(STATEMENTS[name], *parameters)
    return check(name, [record["sentence"] for record in records], records[0]["rows"] if records else 0)
