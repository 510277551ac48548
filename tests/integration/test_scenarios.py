"""The scenarios that people know, over the days and weeks they take, by the scheduler and the ingest themselves.

Time stands in the ledger and is moved from one due moment to the next. A host runs all that it is sent; every fourth
run fails, and counts like any other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import ExecutionStatus
from libs.schedule import due_at, first_fire
from tests.support.faithful_host import FaithfulHost, a_faithful_host
from tests.support.scheduling import Bench
from tests.support.stopped_clock import StoppedClock, a_stopped_clock

BEGIN = datetime(2025, 10, 15, 14, 7, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)
CLAIM_DELAY = timedelta(milliseconds=20)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Lab:
    """A scheduler, an ingest and a host, and what time it is for them."""

    bench: Bench
    host: FaithfulHost
    clock: StoppedClock
    now: datetime = BEGIN
    runs: int = 0
    ids: dict[str, UUID] = field(default_factory=dict)

    def deploy(
        self,
        name: str,
        cron: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        timezone: str = "UTC",
    ) -> None:
        """Created now, as the API creates it."""
        following = first_fire(cron, timezone, start, end, self.now)
        self.ids[name] = self.bench.deploy(
            name, cron, timezone=timezone, start_date=start, end_date=end, max_executions=limit
        )
        self.bench.database.execute(
            "UPDATE deployments SET counted_from = %s, next_fire_at = %s, next_due_at = %s WHERE id = %s",
            (self.now, following, due_at(following, end), self.ids[name]),
        )

    async def live(self, until: datetime) -> None:
        """Let time pass from one due moment to the next."""
        claimer = self.bench.claimer()
        soonest = "SELECT min(next_due_at) FROM deployments WHERE status = 'active'"
        while (due := await self.bench.pool.fetchval(soonest)) is not None and due <= until:
            self.now = due + CLAIM_DELAY
            await self.clock.set(self.now)
            await claimer.claim()
            facts = []
            for trigger in await self.host.take():
                self.runs += 1
                status = ExecutionStatus.FAILED if self.runs % 4 == 0 else ExecutionStatus.COMPLETED
                facts.append(self.host.finished(trigger, self.now, status))
            await self.host.say(*facts)
        self.now = until
        await self.clock.set(until)

    def standing(self, name: str) -> tuple[Any, ...]:
        """Status, why, executions that count, and when it is due again."""
        [row] = self.bench.database.execute(
            "SELECT status, status_reason, execution_count, next_due_at FROM deployments WHERE id = %s",
            (self.ids[name],),
        )
        return tuple(row)

    def ran(self, name: str) -> list[datetime]:
        """The nominal times of its runs; it has no other rows."""
        rows = self.bench.database.execute(
            "SELECT scheduled_at, status, kind FROM deployment_executions WHERE deployment_id = %s ORDER BY id",
            (self.ids[name],),
        )
        assert {row[1] for row in rows} <= {"completed", "failed"}
        assert {row[2] for row in rows} <= {"cron"}
        return [row[0].astimezone(UTC) for row in rows]

    def notices(self, name: str) -> list[tuple[str, str, str, int]]:
        """What the host was told of it."""
        bodies = self.bench.database.execute("SELECT body FROM outbox WHERE type = 'command.notice.v1' ORDER BY id")
        told = [json.loads(body) for (body,) in bodies]
        return [
            (notice["change"], notice["status"], notice["message"], notice["execution_count"])
            for notice in told
            if notice["deployment_name"] == name
        ]


@pytest.fixture
async def lab(bench: Bench) -> AsyncIterator[Lab]:
    async with a_stopped_clock(bench.database, BEGIN) as clock, a_faithful_host(bench.database) as host:
        yield Lab(bench, host, clock)


EXPIRED, COMPLETED = "The end date was reached", "The limit of executions was reached"


async def test_scenario_1_continuous_monitoring_goes_on(lab: Lab) -> None:
    lab.deploy("monitoring", "*/10 * * * *")
    await lab.live(BEGIN + 26 * HOUR)
    assert lab.ran("monitoring") == [utc("2025-10-15 14:10") + n * timedelta(minutes=10) for n in range(156)]
    assert lab.standing("monitoring") == ("active", None, 156, utc("2025-10-16 16:10"))
    assert lab.notices("monitoring") == []


async def test_scenario_2_a_limited_campaign_completes_after_exactly_twenty_runs(lab: Lab) -> None:
    lab.deploy("campaign", "*/30 * * * *", limit=20)
    await lab.live(BEGIN + 24 * HOUR)
    assert lab.ran("campaign") == [utc("2025-10-15 14:30") + n * timedelta(minutes=30) for n in range(20)]
    assert lab.standing("campaign") == ("completed", COMPLETED, 20, None)
    assert lab.notices("campaign") == [("status", "completed", COMPLETED, 20)]
    history = "SELECT status FROM deployment_versions WHERE deployment_id = %s"
    assert lab.bench.database.execute(history, (lab.ids["campaign"],)) == [("completed",)]


async def test_scenario_3_a_regression_runs_on_seven_nights_and_expires(lab: Lab) -> None:
    lab.deploy("regression", "0 2 * * *", start=utc("2025-10-16"), end=utc("2025-10-23"))
    await lab.live(utc("2025-10-22 23:59"))
    assert lab.standing("regression") == ("active", None, 7, utc("2025-10-23"))
    await lab.live(utc("2025-10-25"))
    assert lab.ran("regression") == [utc("2025-10-16 02:00") + n * 24 * HOUR for n in range(7)]
    assert lab.standing("regression") == ("expired", EXPIRED, 7, None)
    assert lab.notices("regression") == [("status", "expired", EXPIRED, 7)]


async def test_scenario_4_business_hours_until_the_end_date(lab: Lab) -> None:
    lab.deploy("office", "0 9-17 * * 1-5", end=utc("2025-11-15"))
    await lab.live(utc("2025-11-16"))
    days = [utc("2025-10-15") + n * 24 * HOUR for n in range(31)]
    hours = [day + hour * HOUR for day in days if day.weekday() < 5 for hour in range(9, 18)]
    expected = [hour for hour in hours if hour > BEGIN]
    assert lab.ran("office") == expected
    assert len(expected) == 22 * 9 + 3, "three are left of the first Wednesday"
    assert lab.standing("office") == ("expired", EXPIRED, 201, None)


async def test_overnight_hours_wrap_around_midnight_and_run_once_in_the_repeated_one(lab: Lab) -> None:
    """The guide's tip, in a zone whose clocks go back on the second of these nights."""
    start, end = utc("2025-10-24 12:00"), utc("2025-10-27 12:00")
    lab.deploy("overnight", "0 22-6 * * *", start=start, end=end, timezone="Europe/Berlin")
    await lab.live(utc("2025-10-28"))
    summer = [utc("2025-10-24 20:00") + n * HOUR for n in range(9)]
    autumn = [utc("2025-10-25 20:00") + n * HOUR for n in (0, 1, 2, 3, 4, 6, 7, 8, 9)]
    winter = [utc("2025-10-26 21:00") + n * HOUR for n in range(9)]
    assert lab.ran("overnight") == summer + autumn + winter
    assert lab.standing("overnight") == ("expired", EXPIRED, 27, None)


@pytest.mark.parametrize(
    ("limit", "runs", "standing"),
    [
        (5, 5, ("completed", COMPLETED, 5, None)),
        (24, 24, ("completed", COMPLETED, 24, None)),
        (25, 24, ("expired", EXPIRED, 24, None)),
    ],
)
async def test_start_end_and_limit_together_whichever_comes_first(
    lab: Lab, limit: int, runs: int, standing: tuple[Any, ...]
) -> None:
    lab.deploy("day", "0 * * * *", start=utc("2025-10-17"), end=utc("2025-10-18"), limit=limit)
    await lab.live(utc("2025-10-19"))
    assert lab.ran("day") == [utc("2025-10-17") + n * HOUR for n in range(runs)]
    assert lab.standing("day") == standing
