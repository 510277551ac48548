"""Names of deployments when nobody gave one, or one for several."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import PurePosixPath

LONGEST = 255


def default_name(script_name: str, at: datetime) -> str:
    """`{stem of the script}_{HHMMSS in UTC}`, cut so that a suffix still fits."""
    stem = PurePosixPath(script_name).stem or script_name
    return f"{stem[: LONGEST - 20]}_{at.astimezone(UTC):%H%M%S}"


def candidates(base: str, taken: Collection[str]) -> Iterator[str]:
    """`base`, `base_2`, `base_3` …, without those that are taken."""
    if base not in taken:
        yield base
    for number in count(2):
        suffix = f"_{number}"
        name = base[: LONGEST - len(suffix)] + suffix
        if name not in taken:
            yield name
