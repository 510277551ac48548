"""Checking I1, I2, I4, I5 and I7 on the ledger of a live system, with bounded work.

All of it in one snapshot: a decision and its row, a count and what is counted, are written in one transaction, so they
need no grace. What travels (events in the broker, heartbeats) gets one, and each finding says how long it is.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.contracts import DeploymentStatus, first_id
from libs.invariants.finding import MOST_EXAMPLES, Finding, finding
from libs.invariants.fires import History, Interval, Period, Rows, broken_of_all
from libs.invariants.statements import STATEMENTS
from libs.ledger.pool import Connection

CHECKED = ("I1", "I2", "I4", "I5", "I7")
DEFAULT_PERIOD = timedelta(hours=24)

MOVING_SECONDS = 60.0
"""What one event may overtake another on its way through the broker, or a heartbeat lag behind."""
CLOCK_SECONDS = 2.0
"""Times of one host are set by its own clock, whose offset is measured anew each minute."""
STUCK_SECONDS = 600.0
"""Beyond what a run, a window or a wait may take, and what the sweep takes to give it up."""
UNDECIDED_SECONDS = 120.0
"""A due fire is decided within this, unless no scheduler is there."""
HELD_SECONDS = 900.0
"""Firing is held after a restore for less than this, unless `rigbeat recover` broke off."""

_DEPLOYMENTS_AT_ONCE = 200
_MOST_FIRES = 2_000_000
_MOST_COUNTED = 10_000
_MOST_LIMITED = 5_000


async def verify(connection: Connection, *, now: datetime, since: datetime | None = None) -> tuple[Finding, ...]:
    """The findings, in the order of `CHECKED`; `since` (default: a day before `now`) is where the looking begins.

    The caller sees all teams and has begun a REPEATABLE READ transaction.
    """
    since = (since or now - DEFAULT_PERIOD).replace(second=0, microsecond=0)
    return (
        await _fires(connection, since, now),
        await _one_at_a_time(connection, since, now),
        await _one_ending(connection, since),
        await _limit(connection, since),
        await _nothing_stuck(connection, now),
    )


async def _fires(connection: Connection, since: datetime, now: datetime) -> Finding:
    rows, examples, looked_at, deployments = 0, list[str](), 0, 0
    after: UUID | None = None
    period = Period(since, now)
    while looked_at < _MOST_FIRES:
        found = await connection.fetch(
            STATEMENTS.fires_deployments, after, since, first_id(since), _DEPLOYMENTS_AT_ONCE
        )
        if not found:
            break
        after = found[-1]["id"]
        deployments += len(found)
        histories = await _histories(connection, found)
        ids = [record["id"] for record in found]
        written = {
            record["deployment_id"]: Rows(
                frozenset(record["fires"] or ()),
                frozenset(record["told_by_host"] or ()),
                frozenset(record["misnamed"] or ()),
            )
            for record in await connection.fetch(STATEMENTS.fires_rows, ids, first_id(since))
        }
        looked_at += sum(len(each.fires) for each in written.values()) + len(found)
        # In a thread: a day of a thousand deployments are more than a million fires, and others wait for this loop.
        sentences = await asyncio.to_thread(broken_of_all, histories, written, period)
        rows += len(sentences)
        examples += sentences[: MOST_EXAMPLES - len(examples)]
    else:
        return Finding("I1", rows, tuple(examples), f"Only {deployments} deployments: ask for a shorter period.")
    return Finding(
        "I1", rows, tuple(examples), f"{deployments} deployments since {since:%Y-%m-%d %H:%M} UTC, no grace."
    )


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
    found = [
        await _found(connection, STATEMENTS.two_at_once, settled),
        await _found(connection, STATEMENTS.two_ran, first_id(since), settled, CLOCK_SECONDS),
        await _found(connection, STATEMENTS.two_waited, first_id(since), settled, CLOCK_SECONDS),
    ]
    note = f"Grace: {MOVING_SECONDS:.0f} s for what is in motion, {CLOCK_SECONDS:.0f} s for a host's clock."
    return finding("I2", found, note)


async def _one_ending(connection: Connection, since: datetime) -> Finding:
    found = await _found(connection, STATEMENTS.endings, first_id(since))
    presumed = await connection.fetchval(STATEMENTS.presumed, first_id(since))
    return finding("I4", [found], f"{presumed} endings are presumed: the host's word may still replace them.")


async def _limit(connection: Connection, since: datetime) -> Finding:
    found = [
        await _found(connection, STATEMENTS.counts, since, _MOST_COUNTED, _MOST_LIMITED),
        await _found(connection, STATEMENTS.over_limit, _MOST_LIMITED),
    ]
    return finding("I5", found, f"Deployments that changed or ran since {since:%Y-%m-%d %H:%M} UTC, no grace.")


async def _nothing_stuck(connection: Connection, now: datetime) -> Finding:
    stuck, moving = now - timedelta(seconds=STUCK_SECONDS), now - timedelta(seconds=MOVING_SECONDS)
    found = [
        await _found(connection, STATEMENTS.stuck_runs, stuck),
        await _found(connection, STATEMENTS.stuck_held, stuck),
        await _found(connection, STATEMENTS.stuck_messages, stuck),
        await _found(connection, STATEMENTS.stuck_devices, moving, now - timedelta(seconds=30)),
        await _found(connection, STATEMENTS.undecided, now - timedelta(seconds=UNDECIDED_SECONDS)),
        await _found(connection, STATEMENTS.held_for_long, now - timedelta(seconds=HELD_SECONDS)),
    ]
    note = f"Grace: {STUCK_SECONDS:.0f} s beyond its time for a run or a message, {MOVING_SECONDS:.0f} s for a device."
    return finding("I7", found, note)


async def _found(connection: Connection, statement: str, *parameters: object) -> tuple[int, list[str]]:
    """How many rows a statement found (its column `rows`), and the sentences of the first."""
    records = await connection.fetch(statement, *parameters)
    return (records[0]["rows"], [record["sentence"] for record in records]) if records else (0, [])
