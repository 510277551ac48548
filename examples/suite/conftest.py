"""What the tests of a set-top box need: the box, and what is asked of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--address", required=True, help="URL of the box")
    parser.addoption("--max-zap-ms", type=float, default=600.0, help="longest zap that is accepted")


class SetTopBox:
    """The box under test."""

    def __init__(self, address: str) -> None:
        self._address = address
        # Devices are on the lab's own network: a proxy of the environment is none of their business.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, **body: object) -> dict[str, Any]:
        """One request; fails the test with the box's own words."""
        request = urllib.request.Request(f"{self._address}{path}", data=json.dumps(body).encode() if body else None)
        try:
            with self._opener.open(request, timeout=10) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as refusal:
            pytest.fail(f"the box refuses: {json.load(refusal)['reason']}", pytrace=False)
        except OSError as error:
            pytest.fail(f"the box does not answer: {error}", pytrace=False)

    def state(self) -> dict[str, Any]:
        return self.ask("/state")


@pytest.fixture
def box(pytestconfig: pytest.Config) -> SetTopBox:
    return SetTopBox(pytestconfig.getoption("--address"))


@pytest.fixture
def max_zap_ms(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--max-zap-ms"))
