"""What a script that failed said last, if that is worth a place in the execution's sentence. Pure."""

from __future__ import annotations

import re

LONGEST = 200
"""Characters; the log has the rest."""

# How Python ends a traceback, and how a shell says what it could not do.
_PYTHON = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Warning|NotFound|Timeout)(?:: .+)?")
_SHELL = re.compile(r"\S+: (?:line )?\d+: .+")


def error_line(tail: bytes) -> str | None:
    """The last line of the output, given its end, when it names an error; None otherwise."""
    lines = tail.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if not last.isprintable() or not (_PYTHON.fullmatch(last) or _SHELL.fullmatch(last)):
        return None
    return last if len(last) <= LONGEST else f"{last[: LONGEST - 1]}…"
