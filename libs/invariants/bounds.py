"""How much a look at the invariants may cost. What grows with the deployments is looked at a page at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """`deployments` a look; `fires` and rows `counted` are where it breaks off."""

    deployments: int
    fires: int
    counted: int
    limited: int = 5_000
    """Deployments with a limit whose attempts are looked at, the newest."""
    letters: int = 10_000
    """Open dead letters that are read, the newest."""


ON_REQUEST = Bounds(deployments=1_000_000, fires=2_000_000, counted=10_000_000)
"""For a person who asked and waits: minutes, on the largest ledgers."""

SCAN = Bounds(deployments=10_000, fires=200_000, counted=200_000)
"""For a look each minute, beside the firing: some seconds."""
