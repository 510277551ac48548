"""Names of metrics are a contract: dashboards and alerts of others are made of them. A name once released stays, with
its type and labels; the page docs/metrics.md tells them all, and nothing that is not there.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client import Counter, Gauge, Histogram

import libs
import services

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
GOLDEN = Path(__file__).parent / "golden" / "metrics.json"
SECTIONS = {
    "Every service": "libs",
    "Scheduler": "services.scheduler",
    "API": "services.api",
    "Host runner": "services.host_runner",
}
_ROW = re.compile(r"^\| `(rigbeat_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \| [^|]+ \|$")


@dataclass(frozen=True, order=True)
class Metric:
    """One as a scraper sees it."""

    name: str
    type: str
    labels: tuple[str, ...]
    section: str


def _modules(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    # A shim is a program of its own and measures nothing; a __main__ is imported by nobody.
    names = [one.name for one in found if one.name.rpartition(".")[2] not in {"__main__", "launch", "env"}]
    return [importlib.import_module(name) for name in names if ".migrations" not in name]


def _all() -> set[Metric]:
    """All metrics of all programs, as they are made in modules; of the first, should others import them."""
    found: dict[str, Metric] = {}
    for module in (*_modules(libs), *_modules(services)):
        for value in vars(module).values():
            if isinstance(value, Counter | Gauge | Histogram):
                metric = _metric(value, module.__name__)
                found.setdefault(metric.name, metric)
    return set(found.values())


@pytest.fixture(scope="module")
def measured() -> set[Metric]:
    return _all()


def _metric(value: Counter | Gauge | Histogram, module: str) -> Metric:
    [described] = value.describe()
    suffix = "_total" if isinstance(value, Counter) else ""
    sections = [name for name, package in SECTIONS.items() if module.startswith(package)]
    assert sections, f"{module}: who serves {described.name}?"
    return Metric(described.name + suffix, described.type, tuple(value._labelnames), sections[0])


def _told() -> set[Metric]:
    found: set[Metric] = set()
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif section in SECTIONS and line.startswith("| `rigbeat_"):
            row = _ROW.match(line)
            assert row, f"a row of another form: {line}"
            name, kind, labels = row.groups()
            found.add(Metric(name, kind, tuple(re.findall(r"`(\w+)`", labels)), section))
    return found


def test_the_page_tells_every_metric_and_no_other(measured: set[Metric]) -> None:
    assert sorted(_told()) == sorted(measured)


def test_no_released_metric_was_renamed_dropped_or_changed(measured: set[Metric]) -> None:
    released = {Metric(**(one | {"labels": tuple(one["labels"])})) for one in json.loads(GOLDEN.read_text())}
    assert released - measured == set(), "a name that others may use is gone or has changed"
    assert measured - released == set(), f"new ones are promised from now on: add them to {GOLDEN.name}"


def test_names_follow_one_rule(measured: set[Metric]) -> None:
    for metric in measured:
        assert re.fullmatch(r"rigbeat(_[a-z]+)+", metric.name), metric
        assert (metric.type == "counter") == metric.name.endswith("_total"), metric
        # Base units, in the name: never milliseconds or kilobytes.
        assert not re.search(r"milli|_ms|minute|hour|kilo|mega", metric.name), metric
        if metric.type == "histogram":
            assert metric.name.endswith("_seconds"), metric


def write() -> None:
    """`python -m tests.contract.test_metric_names`: take what is measured now as promised."""
    rows = [json.dumps(asdict(one)) for one in sorted(_all())]
    GOLDEN.write_text("[\n  " + ",\n  ".join(rows) + "\n]\n")


if __name__ == "__main__":
    write()
