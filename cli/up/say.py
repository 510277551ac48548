"""What `rigbeat up` tells people: whole lines, at once, from any thread."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_lock = threading.Lock()


def say(line: str = "") -> None:
    """Print a line. A reader who went away is no reason to end the system."""
    with _lock, suppress(BrokenPipeError, ValueError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


class Step:
    """What a step became, to be said when it is done."""

    def __init__(self, doing: str) -> None:
        self.done = doing


@contextmanager
def step(doing: str) -> Iterator[Step]:
    """Say `step.done` with its duration when the block is through; nothing when it fails."""
    began = time.monotonic()
    told = Step(doing)
    yield told
    say(f"  {told.done} ({time.monotonic() - began:.1f} s)")
