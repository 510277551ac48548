"""Which of the files that a script left behind are sent, and why the others are not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from libs.contracts.artifacts import LEFT_OUT, MOST_BYTES_EACH, MOST_BYTES_IN_ALL, MOST_FILES, name_fault

MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the folder. `size` in bytes; None for what is no regular file (a link, a device, a pipe)."""

    name: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What is sent, in order, and the text that lists the rest; empty if there is no rest."""

    files: tuple[Found, ...]
    left_out: str


def choose(found: Iterable[Found], *, more: int = 0) -> Choice:
    """Take what may be sent: reports first, then the small before the big, so that one dump keeps nothing back.

    `more` is how many things nobody looked at, because there were too many.
    """
    files: list[Found] = []
    refused: list[str] = []
    total = 0
    for one in sorted(found, key=_rank):
        fault = _fault(one, len(files), total)
        if fault is None:
            assert one.size is not None
            files.append(one)
            total += one.size
        else:
            refused.append(f"{_shown(one.name)}: {fault}\n")
    if len(refused) > MOST_LISTED:
        more += len(refused) - MOST_LISTED
        del refused[MOST_LISTED:]
    if more:
        refused.append(f"{more} more: they are not listed\n")
    return Choice(tuple(files), "".join(refused))


def _rank(one: Found) -> tuple[bool, int, str]:
    return (not one.name.endswith((".html", ".xml")), one.size or 0, one.name)


def _fault(one: Found, files: int, total: int) -> str | None:
    if one.size is None:
        return "it is no regular file"
    if (fault := name_fault(one.name)) is not None:
        return f"its name {fault}"
    if one.name == LEFT_OUT:
        return "this name is taken by this list"
    if one.size > MOST_BYTES_EACH:
        return f"it has {one.size} bytes; one may have {MOST_BYTES_EACH}"
    if files >= MOST_FILES:
        return f"there are more than {MOST_FILES} files"
    if total + one.size > MOST_BYTES_IN_ALL:
        return f"with it there would be more than {MOST_BYTES_IN_ALL} bytes in all"
    return None


def _shown(name: str) -> str:
    """The name on one line, whatever is in it."""
    return name if name.isprintable() else ascii(name)
