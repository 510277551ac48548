"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator

FIRST_SECONDS = 0.2
FACTOR = 2.0
CAP_SECONDS = 5.0


def delays(
    first: float = FIRST_SECONDS,
    factor: float = FACTOR,
    cap: float = CAP_SECONDS,
    *,
    jitter: Callable[[], float] = lambda: 1.0,
) -> Iterator[float]:
    """Endless pauses in seconds: `first`, growing by `factor`, never above `cap`, each times `jitter()`.

    `jitter` draws a number in (0, 1]; the default draws none, so that the sequence is known.
    """
    pause = first
    while True:
        yield min(pause, cap) * jitter()
        pause = min(pause * factor, cap)
