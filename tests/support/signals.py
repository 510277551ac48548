"""What /proc says of a process's signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_GLIBC_OWN = 1 << 31 | 1 << 32
"""Signals 32 and 33, with which glibc's threads work: it lets no program reset them, so whoever started the tests may
have left them ignored for good.
"""


def masks(status: str) -> dict[str, int]:
    """The masks in the text of `/proc/PID/status` by name (`SigBlk`, `SigIgn`…), bit n for signal n + 1."""
    lines = (line.split(":") for line in status.splitlines() if line.startswith("Sig"))
    return {name: int(value, 16) & ~_GLIBC_OWN for name, value in lines if name != "SigQ"}


@contextmanager
def as_nohup_in_the_background() -> Iterator[None]:
    """Ignore what `nohup` and the background jobs of a shell ignore: whoever is started meanwhile inherits it."""
    ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
