"""One field of a cron expression: the white list that stands before croniter.

croniter accepts far more than cron does (`R`, `L`, `#`, `W`, `?`, seconds, years) and steps through wrap-around ranges
in its own way. So every field is read here into plain values, and croniter is only ever shown plain values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from libs.schedule.errors import CronError, FieldName

MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_ITEM = re.compile(r"(?:\*|(?P<low>[0-9]+|[A-Z]+)(?:-(?P<high>[0-9]+|[A-Z]+))?)(?:/(?P<step>[0-9]+))?")
_HASHED = re.compile(r"H(?:\(.*\))?(?:/.*)?")
_RANDOM = re.compile(r"R(?:\(.*\))?(?:/.*)?")
_NEAREST_WEEKDAY = re.compile(r"[0-9]+W|W[0-9]*|LW|WL")
_LAST = re.compile(r"L[0-9]*|L-[0-9]+|[0-9]+L|[A-Z]{3}L")


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What a field may hold: both ends are inclusive, `span` is the number of different values."""

    name: FieldName
    noun: str
    low: int
    high: int
    span: int
    words: tuple[str, ...] = ()
    first_word: int = 0

    @property
    def accepts(self) -> str:
        """The values in words, for the end of a sentence."""
        if self.name == "day_of_week":
            return "0 to 7, Sunday is 0 and 7, or SUN to SAT"
        if self.words:
            return f"{self.low} to {self.high}, or {self.words[0]} to {self.words[-1]}"
        return f"{self.low} to {self.high}"


KINDS = (
    FieldKind("minute", "a minute", 0, 59, 60),
    FieldKind("hour", "an hour", 0, 23, 24),
    FieldKind("day_of_month", "a day of the month", 1, 31, 31),
    FieldKind("month", "a month", 1, 12, 12, MONTH_NAMES, 1),
    FieldKind("day_of_week", "a day of the week", 0, 7, 7, DAY_NAMES, 0),
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field as written (upper case) and the values it means, ascending; Sunday is 0."""

    kind: FieldKind
    text: str
    values: tuple[int, ...]

    @property
    def starts_with_star(self) -> bool:
        """What Debian's cron asks, both for the rule of days and for daylight saving."""
        return self.text.startswith("*")

    @property
    def is_every(self) -> bool:
        """Every value of the field, however it was written."""
        return len(self.values) == self.kind.span


def read_field(kind: FieldKind, text: str) -> Field:
    """Read one field. Raises `CronError` for everything that is not on the white list."""
    if not text.isascii():  # before upper(), which makes plain letters of some others
        raise _refusal(kind, text)
    text = text.upper()
    values: set[int] = set()
    for item in text.split(","):
        values.update(_values(kind, item))
    return Field(kind, text, tuple(sorted(values)))


def _values(kind: FieldKind, item: str) -> list[int]:
    matched = _ITEM.fullmatch(item)
    if matched is None or _names_another_dialect(item):
        raise _refusal(kind, item)
    step = _step(kind, matched["step"])
    if matched["low"] is None:
        return _modulo(kind, range(kind.low, kind.high + 1, step))
    low = _number(kind, matched["low"])
    if matched["high"] is None:
        # 5/15 is "from 5, every 15", as most crons have it.
        last = kind.high if matched["step"] else low
        return _modulo(kind, range(low, last + 1, step))
    high = _number(kind, matched["high"])
    if low <= high:
        return _modulo(kind, range(low, high + 1, step))
    # A wrap-around range, 22-6: past the last value it goes on with the first.
    length = (high - low) % kind.span + 1
    return [kind.low + (low - kind.low + passed) % kind.span for passed in range(0, length, step)]


def _modulo(kind: FieldKind, values: range) -> list[int]:
    return [0 if kind.name == "day_of_week" and value == 7 else value for value in values]


def _number(kind: FieldKind, text: str) -> int:
    if text in kind.words:
        return kind.words.index(text) + kind.first_word
    if not text.isdecimal():
        raise CronError(kind.name, f"{text} is not {kind.noun} ({kind.accepts})", f"Write a number, {kind.accepts}.")
    if not kind.low <= int(text) <= kind.high:
        hint = "Midnight is hour 0." if kind.name == "hour" and int(text) == 24 else f"Write {kind.accepts}."
        raise CronError(kind.name, f"{text} is not {kind.noun} ({kind.accepts})", hint)
    return int(text)


def _step(kind: FieldKind, text: str | None) -> int:
    if text is None:
        return 1
    if int(text) == 0:
        raise CronError(kind.name, "A step of 0 never moves on", f"Write a step of 1 to {kind.span}.")
    if int(text) > kind.span:
        message = f"{text} is too long a step for {kind.noun} (1 to {kind.span})"
        raise CronError(kind.name, message, "A step counts within its field and starts anew with each round of it.")
    return int(text)


def _names_another_dialect(item: str) -> bool:
    return item in {"H", "R", "L", "W", "LW", "WL"} or _HASHED.fullmatch(item) is not None


def _refusal(kind: FieldKind, item: str) -> CronError:
    """Say which dialect a sign belongs to, so that people see why and what to write instead."""
    place = kind.name.replace("_", " ")
    if item == "":
        return CronError(kind.name, f"An entry of the {place} is empty", "Remove the comma that is too many.")
    if _HASHED.fullmatch(item):
        message = f"{item} in the {place} is not resolved: H becomes a fixed number when a deployment is created"
        return CronError(kind.name, message, "Write the number itself here.")
    if _RANDOM.fullmatch(item):
        message = f"{item} in the {place} is a random value, which would differ between schedulers"
        return CronError(kind.name, message, "Write a number, or H for one that is spread by name.")
    if "#" in item:
        message = f"{item} in the {place}: the n-th weekday of a month (#) is not supported"
        return CronError(kind.name, message, "Write the weekday, or the days of the month.")
    if "?" in item:
        return CronError(kind.name, f"? in the {place} is not supported", "Write * for any value.")
    if _NEAREST_WEEKDAY.fullmatch(item):
        return CronError(
            kind.name, f"{item} in the {place}: the nearest weekday (W) is not supported", "Write the day."
        )
    if _LAST.fullmatch(item):
        return CronError(
            kind.name, f"{item} in the {place}: the last day (L) is not supported", "Write the day, as 28."
        )
    if item.startswith("-"):
        return CronError(
            kind.name, f"{item} is not {kind.noun} ({kind.accepts})", "Negative numbers mean nothing here."
        )
    hint = "Write *, a number, a range such as 1-5, a list such as 1,3,5, or a step such as */5."
    return CronError(kind.name, f"{_shown(item)} cannot be read as {kind.noun}", hint)


def _shown(text: str) -> str:
    return text if text.isascii() and text.isprintable() else ascii(text)
