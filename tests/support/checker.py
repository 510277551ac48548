"""The invariants, checked over ledger, journal and side effects after whatever was done to the system."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.system import System

OPEN = "('triggered', 'queued', 'running')"


def broken(system: System, deployments: Sequence[str], effects: Path) -> list[str]:
    """What of I1 to I7 does not hold for these deployments, a sentence each; empty: all of it does.

    `effects`: the file to which each run of their script appended its execution's id.
    """
    return [
        *_one_row_per_fire(system, deployments),
        *_one_running_one_per_device(system, deployments),
        *_one_ending(system, deployments),
        *_limit(system, deployments),
        *_side_effects(system, deployments, effects),
        *_nothing_stuck(system, deployments),
    ]


def _one_row_per_fire(system: System, deployments: Sequence[str]) -> list[str]:
    """I1: every full minute of an every-minute deployment, from its first fire to its last decided one, has its row."""
    rows = system.sql(
        """
        SELECT d.name, wanted.at FROM deployments d
        JOIN deployment_versions v ON v.deployment_id = d.id AND v.version = 1
        CROSS JOIN LATERAL generate_series(
            date_trunc('minute', v.counted_from - interval '1 microsecond') + interval '1 minute',
            d.next_fire_at - interval '1 minute', interval '1 minute') AS wanted (at)
        WHERE d.id = ANY (%s::uuid[]) AND v.cron_expression = '* * * * *' AND d.status = 'active'
          AND NOT EXISTS (SELECT FROM deployment_executions e WHERE e.id = ledger.fire_id(d.id, wanted.at))
        """,
        list(deployments),
    )
    return [f"I1: {name} has no row for its fire at {at}" for name, at in rows]


def _one_running_one_per_device(system: System, deployments: Sequence[str]) -> list[str]:
    """I2 and I3 after the fact: no two runs of one deployment, or on one device, were alive at the same time."""
    rows = system.sql(
        """
        SELECT a.id, b.id, a.device_id FROM deployment_executions a
        JOIN deployment_executions b ON a.host_name = b.host_name AND a.id < b.id
             AND (a.device_id = b.device_id OR a.deployment_id = b.deployment_id)
        WHERE a.deployment_id = ANY (%s::uuid[]) AND b.deployment_id = ANY (%s::uuid[])
          AND a.started_at < b.completed_at AND b.started_at < a.completed_at
        """,
        list(deployments),
        list(deployments),
    )
    return [f"I3: {a} and {b} were on {device} together" for a, b, device in rows]


def _one_ending(system: System, deployments: Sequence[str]) -> list[str]:
    """I4: the journal has one last word for each execution, and the ledger's is the same."""
    last_words: dict[str, list[str]] = {}
    connection = sqlite3.connect(f"file:{system.state_dir / 'journal.sqlite'}?mode=ro", uri=True)
    try:
        for execution, kind, number in connection.execute(
            "SELECT execution_id, type, count(*) FROM events"
            " WHERE type IN ('execution.finished.v1', 'execution.skipped.v1') GROUP BY 1, 2"
        ):
            last_words.setdefault(str(execution), []).extend([str(kind)] * int(number))
    finally:
        connection.close()
    found = []
    for identity, status in system.sql(
        "SELECT id::text, status FROM deployment_executions WHERE deployment_id = ANY (%s::uuid[])", list(deployments)
    ):
        said = last_words.get(identity, [])
        if len(said) > 1:
            found.append(f"I4: the host ended {identity} {len(said)} times: {said}")
        wanted = {"execution.finished.v1": {"completed", "failed", "cancelled"}, "execution.skipped.v1": {"skipped"}}
        if said and status not in wanted[said[0]]:
            found.append(f"I4: the host said {said[0]} of {identity}, the ledger says {status}")
    return found


def _limit(system: System, deployments: Sequence[str]) -> list[str]:
    """I5: the count is that of the rows, and never over the limit."""
    rows = system.sql(
        """
        SELECT d.name, d.execution_count, d.max_executions, count(e.id) FILTER (
            WHERE e.status IN ('completed', 'failed') OR (e.status = 'cancelled' AND e.started_at IS NOT NULL))
        FROM deployments d LEFT JOIN deployment_executions e ON e.deployment_id = d.id
        WHERE d.id = ANY (%s::uuid[]) GROUP BY d.id
        """,
        list(deployments),
    )
    return [
        f"I5: {name} counts {count} of {most}, its rows are {counted}"
        for name, count, most, counted in rows
        if count != counted or (most is not None and count > most)
    ]


def _side_effects(system: System, deployments: Sequence[str], effects: Path) -> list[str]:
    """I6: what started left its id exactly once, nothing else left any."""
    seen = Counter(line.split()[0] for line in effects.read_text().splitlines()) if effects.exists() else Counter()
    started = {
        identity
        for (identity,) in system.sql(
            "SELECT id::text FROM deployment_executions WHERE deployment_id = ANY (%s::uuid[])"
            " AND started_at IS NOT NULL",
            list(deployments),
        )
    }
    found = [f"I6: {identity} left its side effect {number} times" for identity, number in seen.items() if number > 1]
    found += [f"I6: {identity} started and left no side effect" for identity in started - set(seen)]
    return found + [f"I6: {identity} left a side effect and never started" for identity in set(seen) - started]


def _nothing_stuck(system: System, deployments: Sequence[str]) -> list[str]:
    """I7: no open row, no presumed ending, no message left to send, no run on the host."""
    rows = system.sql(
        f"SELECT id, status, presumed FROM deployment_executions WHERE deployment_id = ANY (%s::uuid[])"
        f" AND (status IN {OPEN} OR presumed)",
        list(deployments),
    )
    found = [f"I7: {identity} is still {status} (presumed: {presumed})" for identity, status, presumed in rows]
    left = system.sql("SELECT count(*) FROM outbox WHERE published_at IS NULL")[0][0]
    return [*found, *([f"I7: {left} messages were never sent"] if left else [])]
