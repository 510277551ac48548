"""The header `Range` of one range of bytes (RFC 9110, section 14)."""

from __future__ import annotations

import re

_ONE_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


class UnsatisfiableError(ValueError):
    """The range lies behind the end."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open part [start, end) of `size` bytes that is asked for; None: all of it.

    What is not understood (several ranges, other units, nonsense) counts as not asked, as the RFC has it. Raises
    `UnsatisfiableError`.
    """
    matched = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if matched is None or (not matched["first"] and not matched["last"]):
        return None
    if not matched["first"]:
        start, end = max(size - int(matched["last"]), 0), size
        if not int(matched["last"]):
            raise UnsatisfiableError
    else:
        start = int(matched["first"])
        if matched["last"] and int(matched["last"]) < start:
            return None
        end = min(int(matched["last"]) + 1, size) if matched["last"] else size
    if start >= size:
        raise UnsatisfiableError
    return start, end
