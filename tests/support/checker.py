"""The invariants I1 to I7, checked over ledger, journals, process tables and side effects, whatever was done before.

`broken` is what the fault suite and the tests ask for at the end: a sentence for each thing that does not hold. It
looks at what has come to rest; what must hold at every instant is watched meanwhile (tests/support/watcher.py).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from libs.invariants import verify
from tests.support.wait import until_after
from tests.support.watcher import living

OPEN = "('triggered', 'queued', 'running')"
CLOCK_SECONDS = 0.5
"""Times of two runs of one host may be set by two readings of its clock's offset."""

_LAST_WORDS = {
    "execution.finished.v1": {"completed", "failed", "cancelled"},
    "execution.skipped.v1": {"skipped"},
}


@dataclass(frozen=True)
class Evidence:
    """Where to look. `journals`: of each host, the oldest disk first. `effects`: where each run left its id.

    `lost`: executions that may run again or stay presumed, because their host lost its disk with them.
    """

    sql: Callable[..., list[Any]]
    superuser_url: str
    deployments: Sequence[str]
    journals: Mapping[str, Sequence[Path]]
    effects: Path
    lost: frozenset[str] = frozenset()
    trusts_clocks: bool = field(default=True)
    """False where clocks of hosts or of the ledger were set: then times do not tell what was together."""


def broken_at_rest(evidence: Evidence, *, settle_seconds: float) -> list[str]:
    """The same, but what only is on its way may come to rest for so long: a device whose host has not said yet that it
    is free, a clock's answer in the outbox. That is I7 alone; what else is broken once stays so, and is told at once.
    """
    deadline = time.monotonic() + settle_seconds
    while (found := broken(evidence)) and time.monotonic() < deadline and all(each.startswith("I7") for each in found):
        until_after(0.3)
    return found


def broken(evidence: Evidence) -> list[str]:
    """What of I1 to I7 does not hold, a sentence each; empty: all of it does."""
    return [
        *_verified(evidence),
        *_every_minute(evidence),
        *_together(evidence),
        *_one_ending(evidence),
        *_limit(evidence),
        *_side_effects(evidence),
        *_nothing_stuck(evidence),
    ]


def _verified(evidence: Evidence) -> list[str]:
    """I1, I2, I4, I5 and I7 as `rigbeat verify` finds them, of all deployments."""

    async def ask() -> list[str]:
        connection = await asyncpg.connect(evidence.superuser_url, server_settings={"search_path": "ledger"})
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                now = await connection.fetchval("SELECT ledger.now()")
                found = await verify(connection, now=now)
        finally:
            await connection.close()
        return [
            f"{each.invariant}: {sentence}"
            for each in found
            for sentence in each.examples
            if evidence.trusts_clocks or each.invariant not in {"I2", "I7"}
        ]

    return asyncio.run(ask())


def _every_minute(evidence: Evidence) -> list[str]:
    """I1, worked out without the product's rules: an every-minute deployment has a row for every full minute."""
    rows = evidence.sql(
        """
        SELECT d.name, wanted.at FROM deployments d
        JOIN deployment_versions v ON v.deployment_id = d.id AND v.version = 1
        JOIN LATERAL (SELECT coalesce(min(n.valid_from), d.next_fire_at) AS at FROM deployment_versions n
                      WHERE n.deployment_id = d.id AND n.version = 2) ends ON true
        CROSS JOIN LATERAL generate_series(
            date_trunc('minute', v.counted_from - interval '1 microsecond') + interval '1 minute',
            ends.at - interval '1 microsecond', interval '1 minute') AS wanted (at)
        WHERE d.id = ANY (%s::uuid[]) AND v.cron_expression = '* * * * *' AND v.status = 'active'
          AND NOT EXISTS (SELECT FROM deployment_executions e WHERE e.id = ledger.fire_id(d.id, wanted.at))
          AND NOT EXISTS (SELECT FROM backlogs b WHERE b.deployment_id = d.id
                          AND wanted.at >= b.from_at AND wanted.at < b.until_at)
        """,
        list(evidence.deployments),
    )
    return [f"I1: {name} has no row for its fire at {at}" for name, at in rows]


def _together(evidence: Evidence) -> list[str]:
    """I2 and I3 after the fact: no two runs of one deployment, or on one device, were alive at the same time."""
    if not evidence.trusts_clocks:
        return []
    rows = evidence.sql(
        """
        SELECT a.id, b.id, a.device_id FROM deployment_executions a
        JOIN deployment_executions b ON a.host_name = b.host_name AND a.id < b.id
             AND (a.device_id = b.device_id OR a.deployment_id = b.deployment_id)
        WHERE a.deployment_id = ANY (%s::uuid[]) AND b.deployment_id = ANY (%s::uuid[])
          AND a.received_at IS NOT NULL AND b.received_at IS NOT NULL AND NOT a.presumed AND NOT b.presumed
          AND a.started_at + make_interval(secs => %s) < b.completed_at
          AND b.started_at + make_interval(secs => %s) < a.completed_at
        """,
        list(evidence.deployments),
        list(evidence.deployments),
        CLOCK_SECONDS,
        CLOCK_SECONDS,
    )
    return [f"I3: {a} and {b} were on {device} together" for a, b, device in rows]


def _events(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Of every journal: execution and type of each last word."""
    for path in (path for paths in evidence.journals.values() for path in paths):
        if not path.exists():
            continue
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            yield from connection.execute(
                "SELECT execution_id, type FROM events WHERE type IN ('execution.finished.v1', 'execution.skipped.v1')"
            )
        finally:
            connection.close()


def _one_ending(evidence: Evidence) -> list[str]:
    """I4: the journals have one last word for each execution, and the ledger's is the same."""
    last_words: dict[str, list[str]] = {}
    for execution, kind in _events(evidence):
        last_words.setdefault(execution, []).append(kind)
    found = []
    for identity, status in _rows(evidence, "id::text, status"):
        said = last_words.get(identity, [])
        if len(said) > 1 and identity not in evidence.lost:
            found.append(f"I4: the host ended {identity} {len(said)} times: {said}")
        if said and status not in set().union(*(_LAST_WORDS[each] for each in said)):
            found.append(f"I4: the host said {said[0]} of {identity}, the ledger says {status}")
    return found


def _limit(evidence: Evidence) -> list[str]:
    """I5: the count is that of the rows, and never over the limit."""
    rows = evidence.sql(
        """
        SELECT d.name, d.execution_count, d.max_executions, count(e.id) FILTER (
            WHERE NOT e.presumed AND (
                e.status IN ('completed', 'failed') OR (e.status = 'cancelled' AND e.started_at IS NOT NULL)))
        FROM deployments d LEFT JOIN deployment_executions e ON e.deployment_id = d.id
        WHERE d.id = ANY (%s::uuid[]) GROUP BY d.id
        """,
        list(evidence.deployments),
    )
    return [
        f"I5: {name} counts {count} of {most}, its rows are {counted}"
        for name, count, most, counted in rows
        if count != counted or (most is not None and count > most)
    ]


def _side_effects(evidence: Evidence) -> list[str]:
    """I6: who completed left its id exactly once, who was ended once at most, and nobody else left any."""
    path = evidence.effects
    seen = Counter(line.split()[0] for line in path.read_text().splitlines() if line) if path.exists() else Counter()
    status = dict(_rows(evidence, "id::text, CASE WHEN presumed THEN 'presumed' ELSE status END"))
    found = [
        f"I6: {identity} left its side effect {number} times"
        for identity, number in seen.items()
        if number > 1 and identity not in evidence.lost
    ]
    found += [
        f"I6: {identity} completed and left no side effect"
        for identity, word in status.items()
        if word == "completed" and identity not in seen
    ]
    return found + [
        f"I6: {identity} left a side effect and is {status.get(identity, 'unknown')}"
        for identity in seen
        if status.get(identity) not in {"completed", "failed", "cancelled"} and identity not in evidence.lost
    ]


def _nothing_stuck(evidence: Evidence) -> list[str]:
    """I7: no open row, no presumed ending, no message left to send; on the hosts no run, no slot, no process."""
    rows = _rows(evidence, "id::text, status, presumed", f"AND (status IN {OPEN} OR presumed)")
    found = [
        f"I7: {identity} is still {status} (presumed: {presumed})"
        for identity, status, presumed in rows
        if identity not in evidence.lost
    ]
    left = evidence.sql("SELECT count(*) FROM outbox WHERE published_at IS NULL")[0][0]
    found += [f"I7: {left} messages were never sent"] if left else []
    for host, paths in evidence.journals.items():
        connection = sqlite3.connect(f"file:{paths[-1]}?mode=ro", uri=True, timeout=10)
        try:
            held = connection.execute("SELECT execution_id, state FROM runs WHERE state <> 'ended'").fetchall()
            unsent = connection.execute("SELECT count(*) FROM events WHERE confirmed_at IS NULL").fetchone()[0]
        finally:
            connection.close()
        ours = {row[0] for row in _rows(evidence, "id::text")}
        found += [f"I7: {host} still has {execution} as {state}" for execution, state in held if execution in ours]
        found += [f"I7: {host} has {unsent} events that nobody confirmed"] if unsent else []
    ours = {row[0] for row in _rows(evidence, "id::text")}
    return found + [f"I7: process {pid} of {execution} lives" for pid, execution in living() if execution in ours]


def _rows(evidence: Evidence, columns: str, more: str = "") -> list[Any]:
    statement = f"SELECT {columns} FROM deployment_executions WHERE deployment_id = ANY (%s::uuid[]) {more}"
    return evidence.sql(statement, list(evidence.deployments))
