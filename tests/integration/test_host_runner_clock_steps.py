"""Somebody sets the host's clock: nothing is forgotten, refused or released by what was known of it before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from libs.contracts import Clock, DeviceInfo
from services.host_runner.clock import Moment
from services.host_runner.core.facts import Identity
from services.host_runner.core.vocabulary import Spawn
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.journal import KEEP_DECIDED, Journal
from services.host_runner.outbound import Outbound
from services.host_runner.runner import Runner
from services.host_runner.upkeep import Upkeep
from tests.support.host_runner import T0, at, deployment, lock, trigger
from tests.support.wait import until_async

YEAR = timedelta(days=365)


class Bench:
    """A runner with clocks that the test sets. `wrong`: how far the host's is ahead of the database's."""

    def __init__(self, place: Path) -> None:
        self.steady = 1000.0
        self.wrong = timedelta()
        self.looks = 0
        self.journal = Journal(place / "journal.sqlite", fresh_id=deployment("journal"))
        self.log = DeploymentsLog(place / "deployments.log", place, "lab-1")
        self.runner = Runner(
            self.journal.load(frozenset({"stb-1"}), 1),
            self.journal,
            Identity("lab-1", self.journal.id, deployment("runner")),
            self.log,
            self.now,
        )
        outbound = Outbound(
            self.runner,
            (DeviceInfo(device_id="stb-1"),),
            boot_id="boot",
            version="1",
            heartbeat_seconds=5,
            new_id=lambda: deployment("hello"),
        )
        self.upkeep = Upkeep(
            self.runner,
            outbound,
            list_scripts=self.list_scripts,
            folders=(),
            keep_files=timedelta(days=7),
            steady=lambda: self.steady,
        )

    def centre(self) -> datetime:
        return T0 + timedelta(seconds=self.steady - 1000)

    def now(self) -> datetime:
        return self.centre() + self.wrong

    def list_scripts(self) -> tuple[()]:
        self.looks += 1
        return ()

    def read_clock(self) -> None:
        clock = Clock(command_id=deployment("clock"), host="lab-1", host_sent_at=self.now(), db_time=self.centre())
        self.runner.tell(clock)

    async def goes_round(self) -> None:
        """The upkeep ticks, looks for scripts and forgets, at least once from now on."""
        looks, self.steady = self.looks, self.steady + 3600

        async def has_looked_twice() -> bool:
            # By the second look what came after the first is done.
            self.steady += 3600
            return self.looks >= looks + 2

        await until_async(has_looked_twice, within=10)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.log.close()
    bench.journal.close()


async def test_a_clock_that_jumps_refuses_no_trigger_and_releases_no_lock(bench: Bench) -> None:
    bench.read_clock()
    bench.runner.tell(lock(1, expires=200 * 86400.0))
    await bench.upkeep.start()
    await bench.goes_round()
    kept = bench.runner.host.forgotten_before
    assert kept is not None
    assert kept <= bench.centre() - KEEP_DECIDED
    bench.wrong = YEAR
    await bench.goes_round()
    host = bench.runner.host
    assert host.clock_offset_seconds is None
    assert bench.runner.readings.best is None
    assert host.lock_of("stb-1") is not None
    assert host.forgotten_before is not None
    assert host.forgotten_before <= bench.centre() - KEEP_DECIDED
    # What the centre then says of the clock does not make it better, only known.
    bench.read_clock()
    await bench.goes_round()
    host = bench.runner.host
    assert host.clock_offset_seconds == -YEAR.total_seconds()
    assert host.lock_of("stb-1") is not None
    assert host.forgotten_before is not None
    assert host.forgotten_before <= bench.centre() - KEEP_DECIDED
    fire = trigger("a", (bench.centre() - T0).total_seconds())
    assert bench.runner.request(fire)
    bench.wrong = timedelta()
    await bench.goes_round()
    bench.read_clock()
    await bench.goes_round()
    host = bench.runner.host
    assert host.forgotten_before is not None
    assert kept < host.forgotten_before <= bench.centre() - KEEP_DECIDED
    await bench.upkeep.stop(5)
    assert bench.upkeep.failure is None


def test_a_trigger_that_comes_before_the_next_tick_is_not_judged_by_the_clock_before_it_jumped(bench: Bench) -> None:
    bench.read_clock()
    bench.wrong = YEAR
    [begun] = bench.runner.request(trigger("a", (bench.centre() - T0).total_seconds()))
    assert isinstance(begun, Spawn)
    assert bench.runner.host.clock_offset_seconds is None


def test_nothing_is_forgotten_by_a_clock_that_is_far_off(bench: Bench) -> None:
    bench.wrong = timedelta(seconds=31)
    bench.read_clock()
    bench.runner.forget(bench.now())
    assert bench.runner.host.forgotten_before is None
    bench.wrong = timedelta(seconds=29)
    bench.read_clock()
    bench.runner.forget(bench.now())
    assert bench.runner.host.forgotten_before == bench.centre() - KEEP_DECIDED


@pytest.mark.parametrize(
    ("wall", "steady", "is_step"),
    [(0.5, 0.5, False), (3600, 3600, False), (1.4, 0.5, False), (1.6, 0.5, True), (-0.6, 0.5, True), (0, 1.1, True)],
)
def test_a_step_is_what_only_one_clock_makes(wall: float, steady: float, is_step: bool) -> None:
    assert Moment(at(wall), 100 + steady).is_after_a_step(Moment(at(0), 100)) is is_step
