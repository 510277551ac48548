"""The files that a script leaves behind: what a name may be, and how much there may be of them.

Hosts choose by these rules what they send; the API refuses what breaks them.
"""

from __future__ import annotations

import unicodedata

MOST_FILES = 200
MOST_BYTES_EACH = 64 << 20
MOST_BYTES_IN_ALL = 256 << 20
LONGEST_NAME = 255
"""Bytes of UTF-8, folders and slashes included: with its folder it then fits the key of any object store."""

LEFT_OUT = "rigbeat-left-out.txt"
"""The name under which a host lists what it did not send, and why. It comes on top of `MOST_FILES`."""


def name_fault(name: str) -> str | None:
    """What is wrong with this name, as the end of a sentence that begins with it; None if nothing is.

    A name is a relative path with `/` between its segments, none of them empty, `.` or `..`.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "is not text in UTF-8"
    if not name:
        return "is empty"
    if length > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    if any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} for sign in name):
        return "has a control character in it"
    if "\\" in name:
        return "has a backslash in it"
    if any(segment in {"", ".", ".."} for segment in name.split("/")):
        return "is not a relative path of plain names"
    return None


def total_fault(files: int, size: int, others: int, others_size: int) -> str | None:
    """Why `files` more of `size` bytes together do not fit beside the `others`; None if they do."""
    if files + others > MOST_FILES:
        return f"there may be {MOST_FILES} files"
    if size + others_size > MOST_BYTES_IN_ALL:
        return f"there may be {MOST_BYTES_IN_ALL >> 20} MiB in all"
    return None
