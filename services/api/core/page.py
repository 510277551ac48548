"""Cursors: where a page ended, bound to the list and the filters that it was read with."""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

_DIGEST_CHARACTERS = 16


class CursorError(ValueError):
    """The text is not a cursor of this list and these filters."""


def fingerprint(list_name: str, filters: str) -> str:
    """What ties a cursor to its list; `filters` is any text that is equal for equal filters."""
    return hashlib.sha256(f"{list_name}\n{filters}".encode()).hexdigest()[:_DIGEST_CHARACTERS]


def encode(key: list[str], bound_to: str) -> str:
    """The cursor after the row with this key."""
    return urlsafe_b64encode(json.dumps([bound_to, *key]).encode()).decode().rstrip("=")


def decode(cursor: str, bound_to: str, parts: int) -> list[str]:
    """The key, of so many parts. Raises `CursorError`."""
    try:
        content = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise CursorError("This is not a cursor that a list gave") from None
    if not isinstance(content, list) or len(content) != parts + 1 or not all(isinstance(each, str) for each in content):
        raise CursorError("This is not a cursor that a list gave")
    if content[0] != bound_to:
        raise CursorError("The cursor belongs to a list with other filters")
    return content[1:]
