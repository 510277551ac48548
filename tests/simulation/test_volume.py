"""A hundred thousand fires, weeks of time, and everything that can go wrong: every invariant holds at every instant."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from tests.simulation.conftest import Told
from tests.simulation.quiet import be_quiet
from tests.simulation.run import run
from tests.simulation.trouble import plenty

FIRES = 100_000
WORLDS = 5
MENDED = ("redelivered", "returned", "triggers sent again", "commands sent again", "hosts asked again")
"""What a run without it would not have put to the test."""


@pytest.mark.timeout(1800)  # it runs beside the other tests, and gives way to them
def test_every_invariant_holds_through_weeks_of_faults(seed: int, told: Told) -> None:
    be_quiet()
    seeds = range(seed, seed + WORLDS)
    fires, weeks = 0, 0.0
    struck: Counter[str] = Counter()
    traffic: Counter[str] = Counter()
    for one in seeds:
        # At their ends worlds decide some more than they were asked for: the last one is asked for what is left.
        done = run(one, FIRES // WORLDS if one != seeds[-1] else FIRES - fires)
        told.one(done)
        assert done.broken is None, done.complaint()
        fires, weeks = fires + done.world.ledger.fires, weeks + done.weeks
        struck += done.world.room.history.struck
        traffic += done.world.room.history.traffic
        del done
        gc.collect()  # a world is large, and goes in circles
    told.all_of(WORLDS, fires, weeks, seeds)
    assert fires >= FIRES
    assert not plenty().hours_between.keys() - struck.keys(), struck
    assert all(traffic[what] for what in MENDED), traffic


def test_the_same_seed_is_the_same_run_to_the_byte(seed: int) -> None:
    be_quiet()
    first, second, other = run(seed, 400), run(seed, 400), run(seed + 1, 400)
    assert first.digest == second.digest
    assert first.digest != other.digest
