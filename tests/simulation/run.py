"""One run: a drawn world, its weeks, its end, and what is to be told of it."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from tests.simulation.checks import BrokenError
from tests.simulation.faults import Faults
from tests.simulation.lab import BEGINS
from tests.simulation.room import Room
from tests.simulation.trouble import Trouble, plenty
from tests.simulation.verdict import Verdict
from tests.simulation.world import World

HOSTS = 5
DEVICES = 4
DEPLOYMENTS = 40
MOST_WEEKS = 26


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one seed. `broken` is None when every invariant held."""

    seed: int
    fires: int
    world: World
    seconds: float
    broken: BrokenError | None

    @property
    def digest(self) -> str:
        """Of everything that happened."""
        return self.world.room.history.digest()

    def lines(self) -> Iterator[str]:
        """What it did."""
        ledger, history = self.world.ledger, self.world.room.history
        first = min(each.intervals[0].valid_from for each in ledger.deployments.values())
        weeks = (self.world.room.now - first) / timedelta(weeks=1)
        yield f"seed {self.seed}: {ledger.fires} fires in {weeks:.1f} simulated weeks, {self.seconds:.1f} s"
        ended = Counter(
            f"{each.row.status}{f' ({each.row.outcome.reason})' if each.row.outcome.reason else ''}"
            for each in ledger.executions.values()
        )
        yield "rows: " + _counts(ended)
        yield "faults: " + _counts(history.faults)
        yield "messages: " + _counts(history.traffic)
        checks = self.world.checks
        started, again = sum(checks.started.values()), sum(checks.ran_again.values())
        yield (
            f"scripts: {started} started, {again} of them again after their host's disk was lost, with "
            f"{len(checks.forgotten)} executions or answers that nobody else knew"
        )

    def complaint(self) -> str:
        """The broken invariant, the story of what is concerned, and the command that replays it."""
        assert self.broken is not None
        story = self.world.story(self.broken.about) if self.broken.about is not None else []
        replay = f"python -m tests.simulation --seed {self.seed} --fires {self.fires}"
        return "\n".join((str(self.broken), *story, f"Replay it: {replay}"))


def run(seed: int, fires: int, trouble: Trouble | None = None) -> Run:
    """At least so many fires, with everything that can go wrong; then all is well and everything must be in order."""
    began = time.monotonic()
    gc.disable()  # nothing here goes in circles, and looking for it takes a tenth of the time
    room = Room(seed, BEGINS[seed % len(BEGINS)], trouble or plenty())
    world = World(room, hosts=HOSTS, devices=DEVICES, deployments=DEPLOYMENTS)
    Faults(world)
    broken = None
    try:
        until = room.now + timedelta(weeks=MOST_WEEKS)
        while world.ledger.fires < fires and room.now < until:
            room.agenda.run_for(3600)
        world.quiesce()
        Verdict(world).pronounce()
    except BrokenError as error:
        broken = error
    finally:
        gc.enable()
    return Run(seed, fires, world, time.monotonic() - began, broken)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counted.items()))
