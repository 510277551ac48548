"""A hundred thousand fires, weeks of time, and everything that can go wrong: every invariant holds at every instant."""

from __future__ import annotations

import pytest

from tests.simulation.quiet import be_quiet
from tests.simulation.run import run

FIRES = 20_000
WORLDS = 5


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(WORLDS))
def test_every_invariant_holds_through_weeks_of_faults(seed: int, number: int) -> None:
    be_quiet()
    done = run(seed + number, FIRES)
    assert done.broken is None, done.complaint()
    assert done.world.ledger.fires >= FIRES


def test_the_same_seed_is_the_same_run_to_the_byte(seed: int) -> None:
    be_quiet()
    first, second, other = run(seed, 400), run(seed, 400), run(seed + 1, 400)
    assert first.digest == second.digest
    assert first.digest != other.digest
