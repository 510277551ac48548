"""The folder of one run: what its shim left there, for any runner to read."""

from __future__ import annotations

import fcntl
import os
import signal
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from uuid import UUID

from services.host_runner.core.ending import Cause, Ending, How

OUTPUT = "output"
"""The file with the output."""
ERRORS = "shim.err"
"""What the shim itself has to say, when it cannot begin."""
TAIL_BYTES = 4096


class ShimState(Enum):
    """What a run's folder tells."""

    NEVER_STARTED = auto()
    """There is no start mark: nothing was run."""
    ALIVE = auto()
    FINISHED = auto()
    """The status is there, and nothing of the tree lives."""
    DEAD = auto()
    """The shim died without a status; of its tree something may live."""


def inspect(run_dir: Path) -> ShimState:
    """How it stands with the shim of this folder; no folder is `NEVER_STARTED`."""
    if (run_dir / "status").exists():
        return ShimState.FINISHED
    try:
        with (run_dir / "start").open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return ShimState.NEVER_STARTED
    except BlockingIOError:
        return ShimState.ALIVE
    # It may have ended well since the first look.
    return ShimState.FINISHED if (run_dir / "status").exists() else ShimState.DEAD


def read_ending(run_dir: Path) -> Ending:
    """The status that the shim wrote. Raises `KeyError` or `ValueError` when it is not a shim's."""
    facts = read_facts(run_dir / "status")
    started_at, result_id = facts["started_at"], facts["result_id"]
    # A shim of an earlier release says nothing of it.
    limited = dict(one.split(":") for one in facts.get("limited", "").split(",") if one)
    return Ending(
        How(facts["outcome"]),
        ended_at=instant(facts["ended_at"]),
        code=int(facts["code"]) if facts["code"] else None,
        signal=_signal_name(int(facts["signal"])) if facts["signal"] else None,
        cause=Cause(facts["cause"]) if facts["cause"] else None,
        started_at=instant(started_at) if started_at else None,
        duration_seconds=float(facts["duration"]) if started_at else None,
        output_bytes=int(facts["output_bytes"]),
        dropped_bytes=int(facts["dropped_bytes"]),
        leftovers=int(facts["leftovers"]),
        memory_kills=int(limited.get("memory", 0)),
        forks_refused=int(limited.get("processes", 0)),
        success_marker={"true": True, "false": False}.get(facts["success_marker"]),
        result_id=UUID(result_id) if result_id else None,
        error=facts["error"] or None,
    )


def read_facts(path: Path) -> dict[str, str]:
    """The `key=value` lines of one of its files; empty if it is not there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def last_error(run_dir: Path) -> str:
    """The last line that the shim wrote to its standard error; empty if there is none."""
    try:
        lines = (run_dir / ERRORS).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else ""


def output_tail(run_dir: Path) -> bytes:
    """The last of the output, at most `TAIL_BYTES`; empty if there is none."""
    try:
        with (run_dir / OUTPUT).open("rb") as output:
            output.seek(max(output.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            return output.read()
    except FileNotFoundError:
        return b""


def output_size(run_dir: Path) -> int:
    """How many bytes of output there are."""
    path = run_dir / OUTPUT
    return path.stat().st_size if path.exists() else 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones between the first and the last have no name
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def instant(seconds: str) -> datetime:
    """Unix seconds, as they are written in the folder."""
    return datetime.fromtimestamp(float(seconds), UTC)
