"""What a test tells its processes, and what they did: files in a folder that both know.

An order is a file named after its point; the first process that comes by takes it away, so it is carried out once, by
whom it may concern. `<point>@<process>` is for one process alone.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

DONE = "done"


class Action(StrEnum):
    """What to do at a point."""

    DIE = "die"
    """`kill -9` of oneself."""
    HANG = "hang"
    """Stand still, whole, as under SIGSTOP, until somebody sends SIGCONT or SIGKILL."""
    LATE = "late"
    """Go on so many seconds later; the process's other tasks go on meanwhile."""
    LIE = "lie"
    """The effect has happened, and its caller is told that it may not have."""


@dataclass(frozen=True)
class Order:
    """`passes`: how often the point is to be passed before. `seconds` is for `LATE`."""

    action: Action
    seconds: float = 0.0
    passes: int = 0


def give(folder: Path, point: str, order: Order, process: str | None = None) -> None:
    """Tell whoever comes by `point` next, or the next time that `process` does."""
    path = folder / (point if process is None else f"{point}@{process}")
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(order)))
    draft.rename(path)


def take_back(folder: Path) -> list[str]:
    """The points whose orders nobody took; they are taken away."""
    left = [
        path
        for path in folder.iterdir()
        if path.name not in {DONE, "mangle", "__pycache__"} and not path.name.startswith(("clock.", "real-shim."))
    ]
    for path in left:
        path.unlink(missing_ok=True)
    return [path.name for path in left]


def done(folder: Path) -> list[dict[str, str | int | float]]:
    """What was done, oldest first."""
    path = folder / DONE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def take(folder: Path, point: str, process: str) -> Order | None:
    """The order for this process at this point, which is its to carry out; None when there is none."""
    for name in (point, f"{point}@{process}"):
        path = folder / name
        taken = folder / f"{name}.taken-{os.getpid()}"
        try:
            path.rename(taken)
        except FileNotFoundError:
            continue
        order = Order(**json.loads(taken.read_text()))
        taken.unlink()
        if order.passes > 0:
            give(folder, point, Order(order.action, order.seconds, order.passes - 1), name.partition("@")[2] or None)
            return None
        note = {"point": point, "process": process, "pid": os.getpid(), "action": order.action, "at": time.time()}
        with (folder / DONE).open("a") as book:
            book.write(json.dumps(note) + "\n")
        return Order(Action(order.action), order.seconds)
    return None


def stop_here(action: Action) -> None:
    """Die, or stand still."""
    if action is Action.DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    elif action is Action.HANG:
        os.kill(os.getpid(), signal.SIGSTOP)


def set_clock(folder: Path, process: str, seconds: float) -> None:
    """Let the wall clock of this process, and of the shims that it starts, be so much ahead of the true time."""
    path = folder / f"clock.{process}"
    draft = path.with_suffix(".new")
    draft.write_text(repr(float(seconds)))
    draft.rename(path)


def clock_offset(folder: Path, process: str) -> float:
    """What to add to the true time, in seconds."""
    try:
        return float((folder / f"clock.{process}").read_text())
    except FileNotFoundError:
        return 0.0
