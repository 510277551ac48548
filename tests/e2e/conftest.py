"""The whole system, started once; each test gets a lab of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab import Lab
from tests.support.system import System

LONGEST_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the whole system, on a new machine for the broker's packages too."""
    for item in items:
        if {"lab", "system"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture
def lab(system: System, tmp_path: Path) -> Iterator[Lab]:
    system.wait_until_ready(within=60)
    lab = Lab(system, tmp_path)
    try:
        yield lab
    finally:
        lab.clean_up()
