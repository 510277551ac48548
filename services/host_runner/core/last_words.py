"""What a script that failed said last, if that is worth a place in the execution's sentence. Pure."""

from __future__ import annotations

import re

LONGEST = 200
"""Characters; the log has the rest."""

# How Python ends a traceback, and how a shell says what it could not do.
_PYTHON = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Warning|NotFound|Timeout)(?:: .+)?")
_SHELL = re.compile(r"\S+: (?:line )?\d+: .+")
# How a script says it in its own words.
_OWN = re.compile(r"(?:FAILED|FAILURE|ERROR|FATAL): (.+)")
_MARKER = re.compile(r"SCRIPT_[A-Z_]+:.*")


def error_line(tail: bytes) -> str | None:
    """The last line of the output, given its end, when it names an error; None otherwise. Markers do not count."""
    lines = (line.strip() for line in reversed(tail.decode("utf-8", "replace").split("\n")))
    last = next((line for line in lines if line and not _MARKER.fullmatch(line)), "")
    own = _OWN.fullmatch(last)
    if not last.isprintable() or not (own or _PYTHON.fullmatch(last) or _SHELL.fullmatch(last)):
        return None
    said = own[1] if own else last
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
