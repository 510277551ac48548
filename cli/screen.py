"""What scripts wrote, on its way to standard output: byte by byte into a pipe or a file, harmless on a terminal.

A log holds whatever a device or a web page made its script print. On a terminal it may have colours, tabs and progress
bars; what would move the cursor, change the title, reach the clipboard or turn the text round is shown instead of done.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator

_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,32}m")
_BEGUN = re.compile(r"\x1b(\[[0-9;:]{0,32})?$")
_UNSAFE = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]{0,32}m)"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_PLAIN_AGAIN = "\x1b[0m"


def write(parts: Iterable[bytes]) -> None:
    """Bytes as they come."""
    if sys.stdout.isatty():
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        _show(decoder.decode(part, final) for part, final in _with_end(parts))
        return
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def write_text(parts: Iterable[str]) -> None:
    """Texts as they come, each at once."""
    if sys.stdout.isatty():
        _show(parts)
        return
    for part in parts:
        sys.stdout.write(part)
        sys.stdout.flush()


def harmless(parts: Iterable[str]) -> Iterator[str]:
    """The same text for a terminal. A colour that is cut in two by the parts is still one."""
    held, coloured = "", False
    for part in parts:
        text = held + part
        begun = _BEGUN.search(text)
        held = begun[0] if begun else ""
        shown = _UNSAFE.sub(_shown, text.removesuffix(held))
        coloured = coloured or _COLOUR.search(shown) is not None
        yield shown
    yield _UNSAFE.sub(_shown, held) + (_PLAIN_AGAIN if coloured else "")


def _show(parts: Iterable[str]) -> None:
    for text in harmless(parts):
        sys.stdout.write(text)
        sys.stdout.flush()


def _shown(found: re.Match[str]) -> str:
    return found[0] if found["colour"] else found[0].encode("unicode_escape").decode("ascii")


def _with_end(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for part in parts:
        yield part, False
    yield b"", True
