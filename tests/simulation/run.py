"""One run: a drawn world, its weeks, its end, and what is to be told of it."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
DEPLOYMENTS = 60
MOST_WEEKS = 26


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one seed. `trouble` names what went wrong, `broken` is None when every invariant held."""

    seed: int
    fires: int
    trouble: str
    world: World
    seconds: float
    broken: BrokenError | None

    @property
    def digest(self) -> str:
        """Of everything that happened."""
        return self.world.room.history.digest()

    @property
    def weeks(self) -> float:
        """How long it was in its own time."""
        first = min(each.intervals[0].valid_from for each in self.world.ledger.deployments.values())
        return (self.world.room.now - first) / timedelta(weeks=1)

    def lines(self) -> Iterator[str]:
        """What it did."""
        ledger, history = self.world.ledger, self.world.room.history
        yield f"seed {self.seed}: {ledger.fires} fires in {self.weeks:.1f} simulated weeks, {self.seconds:.1f} s"
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
        return "\n".join((str(self.broken), *story, f"Replay it: {self.command()}"))

    def command(self) -> str:
        """What makes the same run again."""
        return f'make simulate SEED={self.seed} ARGS="--fires {self.fires} --trouble {self.trouble}"'


def run(seed: int, fires: int, trouble: Callable[[], Trouble] = plenty) -> Run:
    """At least so many fires, with everything that can go wrong; then all is well and everything must be in order."""
    began = time.monotonic()
    gc.disable()  # nothing here goes in circles, and looking for it takes a tenth of the time
    room = Room(seed, BEGINS[seed % len(BEGINS)], trouble())
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
    return Run(seed, fires, trouble.__name__, world, time.monotonic() - began, broken)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counted.items()))
