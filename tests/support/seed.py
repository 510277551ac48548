"""One seed for all that a run draws: a new one each time, printed, and given again with `--seed`."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings

_seed: pytest.StashKey[int] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the seed of what is drawn (default: a new one, printed)")
    parser.addoption("--cron-expressions", type=int, default=150, help="how many cron expressions are drawn")
    parser.addoption("--attack-cases", type=int, default=0, help="how many requests each role sends (default: few)")


# For `make attack`: --hypothesis-profile attack.
settings.register_profile("attack", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))


def pytest_configure(config: pytest.Config) -> None:
    given: int | None = config.getoption("--seed")
    config.stash[_seed] = random.SystemRandom().randrange(1_000_000) if given is None else given


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.stash[_seed]} (draw the same again with --seed {config.stash[_seed]})"


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Of this run."""
    return request.config.stash[_seed]
