"""What the simulator did is told at the end of a run of tests."""

from __future__ import annotations

import pytest

from tests.simulation.run import Run

_told: pytest.StashKey[list[str]] = pytest.StashKey()


class Told:
    """Takes runs; of a run only its lines are kept."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def all_of(self, runs: int, fires: int, weeks: float, seeds: range) -> None:
        """The sum of it."""
        self._lines.append(
            f"SIMULATED: {fires} fires in {weeks:.1f} weeks, {runs} worlds, seeds {seeds.start} to {seeds.stop - 1} "
            f'(the same again: make test TESTS=tests/simulation ARGS="--seed {seeds.start}")'
        )

    def one(self, run: Run) -> None:
        """One world."""
        self._lines.append(next(run.lines()))


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Told:
    """Where to tell it."""
    return Told(request.config.stash.setdefault(_told, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_told, []):
        terminalreporter.write_line(line)
