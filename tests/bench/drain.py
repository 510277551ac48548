"""How fast a backlog of results drains: the ingest's own process, alone on real servers with fsync on.

    python -m tests.bench.drain --events 6000 --deployments 1000

Hosts that fired for minutes while no ingest was there have said what became of it: most were refused a busy device, one
in six waited, ran and ended, which makes four events of it with its device's news. Prints events a second, from the
first that is in the ledger to the last, and the CPU seconds of who worked at it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import depth
from libs.chassis.amqp.message import Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.contracts import (
    DeviceChanged,
    DeviceState,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    HostEvent,
    Kind,
    Reason,
)
from libs.contracts.topology import RESULTS_PERSIST
from libs.stack.process import start
from tests.bench.hosts import outgoing
from tests.bench.lab import Lab, Size, running
from tests.bench.machine import ROOT
from tests.support.wait import until, until_async

SERVICES = ("ingest", "postgresql", "rabbitmq")
PUBLISHED_TOGETHER = 1000
EVERY = 6


def events(rows: Sequence[Any], now: datetime) -> Iterator[HostEvent]:
    """What the hosts of these executions say, as it comes out of their journals."""
    journals: dict[str, dict[str, Any]] = {}
    for sequence, (execution, deployment, host, device, scheduled_at) in enumerate(rows, start=1):
        who = journals.setdefault(host, {"host": host, "journal_id": _drawn(), "runner_id": _drawn()})
        common: dict[str, Any] = who | {
            "execution_id": execution,
            "deployment_id": deployment,
            "ledger_epoch": 1,
            "version": 1,
            "kind": Kind.CRON,
            "scheduled_at": scheduled_at,
            "device_id": device,
            "script_name": "health.py",
            "at": now,
            "clock_offset_seconds": 0.25,
            "received_at": now,
        }
        first = 10 * sequence
        if sequence % EVERY:
            yield ExecutionSkipped(**common, sequence=first, reason=Reason.DEVICE_BUSY, message="box is busy")
            continue
        yield ExecutionQueued(**common, sequence=first, reason=Reason.DEVICE_BUSY)
        times = {"queued_at": now, "admitted_at": now, "started_at": now}
        yield ExecutionStarted(**common, **times, sequence=first + 1)
        yield ExecutionFinished(
            **common,
            **times,
            sequence=first + 2,
            completed_at=now + timedelta(seconds=3),
            status=ExecutionStatus.COMPLETED,
            success=True,
            exit_code=0,
            duration_seconds=3.0,
        )
        device_state = DeviceState(device_id=device, status="free")
        yield DeviceChanged(**who, sequence=first + 3, at=now, device=device_state)


def triggered(lab: Lab, number: int, first: datetime) -> list[Any]:
    """So many executions, minute after minute, of which nothing is known yet but that they were triggered."""
    return lab.sql(
        "INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, version, host_name,"
        " device_id, script_name, decided_at, published_at, status)"
        " SELECT gen_random_uuid(), d.id, d.team_id, %s + n * interval '1 minute', 'cron', 1, d.host_name, d.device_id,"
        " d.script_name, ledger.now(), ledger.now(), 'triggered'"
        " FROM generate_series(0, %s) AS n, deployments d ORDER BY n LIMIT %s"
        " RETURNING id, deployment_id, host_name, device_id, scheduled_at",
        first,
        number // lab.size.deployments,
        number,
    )


async def publish(lab: Lab, said: Sequence[HostEvent]) -> None:
    """Into the queue, confirmed."""
    async with closing(await connect(lab.rabbitmq.amqp_url, name="bench")) as connection:
        publisher = Publisher(connection)
        for begin in range(0, len(said), PUBLISHED_TOGETHER):
            several = [outgoing(event, str(_drawn())) for event in said[begin : begin + PUBLISHED_TOGETHER]]
            receipts = await publisher.publish(several)
            assert receipts == [Receipt.CONFIRMED] * len(several)

        async def all_is_there() -> bool:
            ready, _ = await depth(connection, RESULTS_PERSIST)
            return ready == len(said)

        await until_async(all_is_there, within=30, what="the queue counts all that was confirmed")


def drained(lab: Lab) -> tuple[float, dict[str, float]]:
    """Start an ingest on what is there; seconds until the last is committed, and CPU seconds by who used them."""
    environment = {
        "PATH": os.environ["PATH"],  # noqa: TID251
        "RIGBEAT_AMQP_URL": lab.rabbitmq.amqp_url,
        "RIGBEAT_INGEST_DATABASE_URL": lab.url("rigbeat_ingest"),
        "RIGBEAT_LOG_FORMAT": "json",
    }
    arguments = [sys.executable, "-m", "services.api.ingest"]
    ingest = start("ingest", arguments, env=environment, log=lab.place / "ingest.log", cwd=ROOT)
    lab.children["ingest"] = ingest
    pids = (ingest.pid, lab.postgres.pid, lab.rabbitmq.pid)
    until(lambda: _changed(lab), within=30, what="the ingest takes the first of it")
    began, before = time.monotonic(), [_cpu(pid) for pid in pids]
    until(lambda: not _open(lab), within=120, what="all of it is in the ledger")
    seconds = time.monotonic() - began
    used = {name: round(_cpu(pid) - then, 2) for name, pid, then in zip(SERVICES, pids, before, strict=True)}
    ingest.terminate(20, signal.SIGTERM)
    return seconds, used


def _drawn() -> UUID:
    return UUID(bytes=os.urandom(16))


def _changed(lab: Lab) -> bool:
    return bool(lab.sql("SELECT 1 FROM deployment_executions WHERE status <> 'triggered' LIMIT 1"))


def _open(lab: Lab) -> bool:
    return bool(
        lab.sql("SELECT 1 FROM deployment_executions WHERE status IN ('triggered', 'queued', 'running') LIMIT 1")
    )


def _cpu(pid: int | None) -> float:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return sum(each.cpu_times().user + each.cpu_times().system for each in family)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure some rounds, each on a ledger of its own, and print them."""
    parser = argparse.ArgumentParser(description="How fast a backlog of results drains.")
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    rates = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(prefix="rigbeat-bench-") as place:
            Path(place).chmod(0o755)  # as root PostgreSQL is another user
            with running(Path(place), Size(given.hosts, given.deployments, 0)) as lab:
                now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251
                lab.populate(now + timedelta(days=1))
                rows = triggered(lab, given.events * EVERY // (EVERY + 3), now.replace(second=0))
                said = list(events(rows, now))
                asyncio.run(publish(lab, said))
                seconds, used = drained(lab)
        rates.append(len(said) / seconds)
        sys.stdout.write(f"{len(said)} events in {seconds:.2f} s, {rates[-1]:.0f} a second, CPU seconds {used}\n")
    sys.stdout.write(f"median {statistics.median(rates):.0f} events a second\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
