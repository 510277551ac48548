"""`H`, as Jenkins has it: a value that is spread by name, so that a lab's nightly tests do not all begin at minute 0.

It is resolved once, when a deployment is created, and stored as plain numbers: what is shown is what fires.
"""

from __future__ import annotations

import hashlib
import re

from libs.schedule.cron import parse, split
from libs.schedule.errors import CronError
from libs.schedule.fields import KINDS, FieldKind

_HASHED = re.compile(r"H(?:\((?P<low>[0-9]{1,2})-(?P<high>[0-9]{1,2})\))?(?:/(?P<step>[0-9]{1,2}))?")
# Days 29 to 31 are not in every month: Jenkins spreads over the first 28, too.
_HIGHEST = {"day_of_month": 28, "day_of_week": 6}


def resolve_hash(expression: str, key: str) -> str:
    """The expression with every `H`, `H/15`, `H(0-29)` and `H(0-29)/10` replaced by numbers drawn from `key`.

    The same key always gives the same numbers, on every machine. Raises `CronError` as `parse` does.
    """
    texts = [
        ",".join(_resolve(kind, item, key) for item in text.upper().split(","))
        for kind, text in zip(KINDS, split(expression), strict=True)
    ]
    return parse(" ".join(texts)).expression


def _resolve(kind: FieldKind, item: str, key: str) -> str:
    matched = _HASHED.fullmatch(item)
    if matched is None:
        return item
    highest = _HIGHEST.get(kind.name, kind.high)
    low = int(matched["low"]) if matched["low"] else kind.low
    high = int(matched["high"]) if matched["high"] else highest
    if not kind.low <= low <= high <= kind.high:
        message = f"{item}: {low}-{high} is not a range of {kind.noun} ({kind.accepts})"
        raise CronError(kind.name, message, f"Write {kind.accepts}, the smaller number first.")
    digest = hashlib.sha256(f"{kind.name}\0{key}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big")
    if matched["step"] is None:
        return str(low + drawn % (high - low + 1))
    step = int(matched["step"])
    if not 1 <= step <= high - low + 1:
        raise CronError(kind.name, f"{item}: the step is 1 to {high - low + 1} here", "Write a smaller step.")
    return f"{low + drawn % step}-{high}/{step}"
