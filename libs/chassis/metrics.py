"""Prometheus metrics of this process, every name with the prefix `rigbeat_`, on one registry.

Processes that share one port measure together (`libs/chassis/shared_metrics.py`): then each answers for all of them.
The names are a contract, written down in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

PREFIX = "rigbeat_"
CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a quick broker confirm to a stuck database, in seconds.
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    """A counter `rigbeat_<name>_total`."""
    return Counter(PREFIX + name, what, labels, registry=REGISTRY)


def gauge(
    name: str,
    what: str,
    labels: Sequence[str] = (),
    *,
    over_processes: Literal["livesum", "livemax", "livemin"] = "livesum",
) -> Gauge:
    """A gauge `rigbeat_<name>`; `over_processes` is what becomes of it where several living ones measure together."""
    return Gauge(PREFIX + name, what, labels, registry=REGISTRY, multiprocess_mode=over_processes)


def histogram(
    name: str, what: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS_BUCKETS
) -> Histogram:
    """A histogram `rigbeat_<name>`; name the unit in `name` (`..._seconds`)."""
    return Histogram(PREFIX + name, what, labels, registry=REGISTRY, buckets=buckets)


def exposition() -> bytes:
    """Everything measured so far, in Prometheus' text format (`CONTENT_TYPE`): by this process, or by all that it
    shares a directory with.
    """
    # The library has decided when it was imported, by what the parent had put into the environment.
    if values.ValueClass is values.MutexValue:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    _WhatIsWritten(together)
    return generate_latest(together)


class _WhatIsWritten(MultiProcessCollector):
    """All files but those that a process is making at this moment: the library takes an empty one for a broken one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)  # type: ignore[no-untyped-call]
        self._place = Path(self._path)

    def collect(self) -> Iterable[Any]:
        files = [str(file) for file in self._place.glob("*.db") if _is_written(file)]
        return self.merge(files, accumulate=True)  # type: ignore[no-untyped-call,no-any-return]


def _is_written(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False  # gone with its process
