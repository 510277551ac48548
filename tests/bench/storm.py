"""The minute-0 storm: every deployment is due in the same minute, through real servers and services.

    python -m tests.bench.storm --hosts 20 --deployments 1000 --out DIR

Writes DIR/storm.json and DIR/storm.png, and prints the figures. Takes three rounds, a minute apart; the hosts are
simulated (tests/bench/hosts.py), everything else is what production runs. Compare what one run or one machine gave.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from libs.invariants import verify
from libs.ledger.pool import create_pool
from tests.bench.lab import Lab, Size, running
from tests.bench.machine import machine, source
from tests.bench.picture import draw
from tests.bench.usage import cpu_seconds, members, memory_mib
from tests.support.wait import until_after

IDLE_SECONDS = 15.0
START_SECONDS = 20.0
ROUND_SECONDS = 40.0
BEFORE_SECONDS = 2.0
STEPS = ("decided", "confirmed", "received", "ended")


@dataclass
class Round:
    """One storm: seconds after the nominal time, by step, sorted; and what it took."""

    at: datetime
    seconds: dict[str, list[float]]
    cpu: dict[str, float]
    statements: dict[str, int]

    def figures(self) -> dict[str, Any]:
        """As the JSON has them."""
        number = len(self.seconds["confirmed"])
        came, ended = self.seconds["received"], self.seconds["ended"]
        return {
            "seconds_after_nominal": {step: _quantiles(self.seconds[step]) for step in STEPS},
            "triggers_per_second": round(number / self.seconds["confirmed"][-1], 1),
            "results_per_second": round(number / (ended[-1] - came[0]), 1),
            "cpu_seconds": {name: round(seconds, 2) for name, seconds in self.cpu.items()},
            "statements_per_execution": {role: round(calls / number, 2) for role, calls in self.statements.items()},
        }


def _quantiles(ordered: Sequence[float]) -> dict[str, float]:
    at_99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    figures = {"first": ordered[0], "p50": statistics.median(ordered), "p99": at_99, "last": ordered[-1]}
    return {name: round(seconds, 4) for name, seconds in figures.items()}


def measure(lab: Lab, rounds: int) -> dict[str, Any]:
    """All of it, on servers that are empty."""
    now = datetime.now(UTC)  # noqa: TID251
    lead = timedelta(seconds=START_SECONDS + IDLE_SECONDS + BEFORE_SECONDS)
    first = (now + lead).replace(second=0, microsecond=0) + timedelta(minutes=1)
    lab.shift((first - now - lead).total_seconds())  # nobody waits for a true minute
    lab.populate(first)
    lab.start_services()
    spare = (first - _database_time(lab)).total_seconds() - IDLE_SECONDS - BEFORE_SECONDS
    assert spare > 0, f"the services took {-spare:.0f} s too long to start"
    idle = _idle(lab, IDLE_SECONDS + spare - 1)
    storms = [_storm(lab, first + timedelta(minutes=number)) for number in range(rounds)]
    memory = memory_mib(members(lab))
    broken = asyncio.run(_broken(lab, [storm.at for storm in storms]))
    lab.stop_services()
    came = dict(line.split("\t") for line in lab.received_file.read_text().splitlines())
    for storm in storms:
        rows = lab.sql("SELECT id::text FROM deployment_executions WHERE scheduled_at = %s", storm.at)
        storm.seconds["received"] = sorted(float(came[row[0]]) - storm.at.timestamp() for row in rows)
    return {
        "bench": "storm",
        "date": now.isoformat(timespec="seconds"),
        "source": source(),
        "machine": machine(lab.superuser_url, _rabbitmq_version(lab)),
        "size": vars(lab.size) | {"rounds": rounds},
        "median": _median([storm.figures() for storm in storms]),
        "rounds": [storm.figures() for storm in storms],
        "curves": [{step: _thinned(storm.seconds[step]) for step in STEPS} for storm in storms],
        "idle": idle,
        "memory_mib": memory,
        "broken": broken,
    }


def _idle(lab: Lab, seconds: float) -> dict[str, Any]:
    """While nothing is due and the hosts only beat."""
    parts = members(lab)
    lab.sql("SELECT pg_stat_statements_reset()")
    before, begun = cpu_seconds(parts), time.monotonic()
    until_after(seconds)
    after, took = cpu_seconds(parts), time.monotonic() - begun
    calls = _statements(lab)
    often = lab.sql(
        "SELECT r.rolname, s.calls, left(regexp_replace(s.query, '\\s+', ' ', 'g'), 100) FROM pg_stat_statements s"
        " JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname LIKE 'rigbeat_%%' ORDER BY 2 DESC LIMIT 12"
    )
    return {
        "seconds": round(took, 1),
        "most_often": [
            {"role": role.removeprefix("rigbeat_"), "per_second": round(number / took, 2), "statement": statement}
            for role, number, statement in often
        ],
        "statements_per_second": {role: round(number / took, 2) for role, number in calls.items()}
        | {"all": round(sum(calls.values()) / took, 2)},
        "cpu_percent_of_a_core": {name: round(100 * (after[name] - before[name]) / took, 2) for name in after},
    }


def _storm(lab: Lab, at: datetime) -> Round:
    parts = members(lab)
    until_after(max((at - _database_time(lab)).total_seconds() - BEFORE_SECONDS, 0))
    lab.sql("SELECT pg_stat_statements_reset()")
    before = cpu_seconds(parts)
    give_up_at = time.monotonic() + BEFORE_SECONDS + ROUND_SECONDS
    while (left := _unended(lab, at)) and time.monotonic() < give_up_at:
        until_after(0.25)
    assert not left, f"{left} executions have not ended {ROUND_SECONDS} s after their nominal time"
    after = cpu_seconds(parts)
    statements = _statements(lab)
    rows = lab.sql(
        "SELECT extract(epoch FROM e.decided_at - e.scheduled_at)::float8,"
        " extract(epoch FROM e.published_at - e.scheduled_at)::float8,"
        " extract(epoch FROM f.at - e.scheduled_at)::float8"
        " FROM deployment_executions e JOIN (SELECT resource_id, max(at) AS at FROM change_feed"
        " WHERE kind = 'execution' AND at >= %s GROUP BY 1) f ON f.resource_id = e.id::text WHERE e.scheduled_at = %s",
        at,
        at,
    )
    decided, confirmed, ended = (sorted(column) for column in zip(*rows, strict=True))
    return Round(
        at=at,
        seconds={"decided": decided, "confirmed": confirmed, "ended": ended},
        cpu={name: after[name] - before[name] for name in after},
        statements=statements,
    )


def _unended(lab: Lab, at: datetime) -> int:
    [(ended,)] = lab.sql(
        "SELECT count(*) FROM deployment_executions WHERE scheduled_at = %s AND status = 'completed'"
        " AND published_at IS NOT NULL",
        at,
    )
    return lab.size.deployments - int(ended)


def _statements(lab: Lab) -> dict[str, int]:
    """Calls by role, since they were last set to nothing; transactions' beginnings and ends are statements too."""
    rows = lab.sql(
        "SELECT r.rolname, sum(s.calls)::int FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid"
        " WHERE r.rolname LIKE 'rigbeat_%%' GROUP BY 1 ORDER BY 1"
    )
    return {role.removeprefix("rigbeat_"): calls for role, calls in rows}


async def _broken(lab: Lab, times: Sequence[datetime]) -> list[str]:
    """What does not hold; nothing is expected here."""
    found = [
        f"{name} has {number} rows at {at:%H:%M}, of which {ended} completed"
        for at in times
        for name, number, ended in lab.sql(
            "SELECT d.name, count(e.id), count(e.id) FILTER (WHERE e.status = 'completed')"
            " FROM deployments d LEFT JOIN deployment_executions e ON e.deployment_id = d.id AND e.scheduled_at = %s"
            " GROUP BY 1 HAVING count(e.id) <> 1 OR bool_or(e.status <> 'completed')",
            at,
        )
    ]
    [(letters,)] = lab.sql("SELECT count(*) FROM dead_letters")
    if letters:
        found.append(f"{letters} dead letters")
    pool = await create_pool(lab.url("rigbeat"), application="bench", most=1)
    try:
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            now = await connection.fetchval("SELECT ledger.now()")
            findings = await verify(connection, now=now)
    finally:
        pool.terminate()
    return found + [str(finding) for finding in findings if not finding.ok]


def _median(figures: Sequence[Any]) -> Any:
    if isinstance(figures[0], dict):
        return {name: _median([one[name] for one in figures if name in one]) for name in figures[0]}
    return round(statistics.median(figures), 4)


def _thinned(ordered: Sequence[float], most: int = 200) -> list[float]:
    step = max(len(ordered) // most, 1)
    return [round(each, 4) for each in [*ordered[::step], ordered[-1]]]


def _database_time(lab: Lab) -> datetime:
    [(now,)] = lab.sql("SELECT ledger.now()")
    assert isinstance(now, datetime)
    return now


def _rabbitmq_version(lab: Lab) -> str:
    with httpx.Client(trust_env=False) as client:
        return str(client.get(f"{lab.rabbitmq.management_url}/api/overview").json()["rabbitmq_version"])


def told(result: dict[str, Any]) -> str:
    """The figures, for people."""
    median, lines = result["median"], []
    for step, seconds in median["seconds_after_nominal"].items():
        lines.append(
            f"{step:<10} p50 {seconds['p50']:7.3f} s   p99 {seconds['p99']:7.3f} s   last {seconds['last']:7.3f} s"
        )
    lines.append(f"triggers {median['triggers_per_second']:.0f} /s   results {median['results_per_second']:.0f} /s")
    lines.append(f"CPU seconds {json.dumps(median['cpu_seconds'])}")
    idle = result["idle"]
    lines.append(f"idle: statements a second {json.dumps(idle['statements_per_second'])}")
    lines.append(f"idle: percent of a core {json.dumps(idle['cpu_percent_of_a_core'])}")
    lines.append(f"memory, MiB {json.dumps(result['memory_mib'])}")
    lines.append("all invariants hold" if not result["broken"] else f"BROKEN: {result['broken']}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, print; 1 when an invariant does not hold."""
    parser = argparse.ArgumentParser(description="The minute-0 storm through real servers.")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--schedulers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rigbeat-bench-") as place:
        Path(place).chmod(0o755)  # as root PostgreSQL is another user
        with running(Path(place), Size(given.hosts, given.deployments, given.schedulers)) as lab:
            result = measure(lab, given.rounds)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "storm.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(result, given.out / "storm.png")
    sys.stdout.write(told(result))
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
