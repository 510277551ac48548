"""A row of the fault suite: what is done to the system, and which invariants it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.scene import Scene

Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Row:
    """`act` does it and may assert more than the invariants. `drawn`: what happens depends on the seed.

    `stage`: the name of the stage that it wants; rows of one stage share it.
    """

    name: str
    says: str
    invariants: str
    act: Act
    drawn: bool = True
    stage: str = "common"
    ends_dirty: bool = False
    """The stage is of no use to others afterwards."""


ROWS: dict[str, Row] = {}


def row(
    name: str, says: str, invariants: str, *, drawn: bool = True, stage: str = "common", ends_dirty: bool = False
) -> Callable[[Act], Act]:
    """Register the function as a row."""

    def register(act: Act) -> Act:
        assert name not in ROWS, name
        ROWS[name] = Row(name, says, invariants, act, drawn, stage, ends_dirty)
        return act

    return register
