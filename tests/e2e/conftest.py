"""The whole system, started once; each test gets a lab of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab import Lab
from tests.support.system import System


@pytest.fixture
def lab(system: System, tmp_path: Path) -> Iterator[Lab]:
    system.wait_until_ready(within=60)
    lab = Lab(system, tmp_path)
    try:
        yield lab
    finally:
        lab.clean_up()
