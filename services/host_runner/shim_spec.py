"""What a shim is to do, decided before it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.host_runner.bounds import NONE, Bounds


@dataclass(frozen=True, slots=True)
class ShimSpec:
    """What a shim is told. Durations are seconds; `env` is the script's whole environment.

    `env` holds RIGBEAT_EXECUTION_ID: by it the tree is found when its shim is dead.
    """

    run_dir: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    timeout_seconds: float
    silence_timeout_seconds: float | None
    grace_seconds: float
    max_output_bytes: int
    python: str
    bounds: Bounds = NONE
