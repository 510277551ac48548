"""Logs for people: what others wrote is shown in them, and never becomes a line or an order to the terminal.

A name, an error's text or a line of a library may hold anything that somebody sent. An event is one line that begins
with its time; whatever follows it (a traceback) is indented, so that it cannot be taken for another event.
"""

from __future__ import annotations

import io
import re
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, WrappedLogger

# Control characters (a line break, a terminal's escape) and what turns the direction of text for a whole line.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARGIN = "    "


class _Shown:
    """A value that the renderer prints as it is told here."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def escaped(text: str) -> str:
    """The text on one line, what is unsafe in it as Python writes it (`\\n`, `\\x1b`)."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def harmless(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """For structlog, right before the renderer: no value of the event has more than one line, nor orders in it."""
    for name, value in list(event.items()):
        if name == "exc_info":
            continue
        if name in {"stack", "exception"}:
            event[name] = indented(str(value))
        elif isinstance(value, str):
            if _UNSAFE.search(value):
                event[name] = escaped(value) if name == "event" else _Shown(escaped(repr(value)))
        elif _UNSAFE.search(shown := repr(value)):
            event[name] = _Shown(escaped(shown))
    return event


def traceback(target: TextIO, exc_info: ExcInfo) -> None:
    """For structlog: a plain traceback; the rich ones print local variables, and with them passwords."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    target.write("\n" + indented(written.getvalue().removeprefix("\n")))


def indented(text: str) -> str:
    """Several lines, each behind a margin."""
    return "\n".join(_MARGIN + escaped(line) for line in text.split("\n"))
