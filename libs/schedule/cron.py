"""A cron expression: exactly five fields, read once, the same for validation, words, preview and firing.

Accepted are `*`, numbers, names, lists, ranges (also around the end: `22-6`), steps. Sunday is 0 and 7. Day of month
and day of week join by OR, but by AND when either starts with `*`: Debian's cron(8) has it so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from libs.schedule.errors import CronError, FieldName
from libs.schedule.fields import KINDS, Field, read_field
from libs.schedule.zones import zone

__all__ = ["LONGEST_EXPRESSION", "Cron", "CronError", "FieldName", "parse", "split", "zone"]

LONGEST_EXPRESSION = 200

_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression. `expression` is normalised: single spaces, names in upper case.

    `fields` are minute, hour, day of month, month, day of week.
    """

    expression: str
    fields: tuple[Field, Field, Field, Field, Field]

    @property
    def is_fixed_time(self) -> bool:
        """Neither minute nor hour starts with `*`: in a skipped hour it runs right after, in a repeated one once."""
        return not (self.fields[0].starts_with_star or self.fields[1].starts_with_star)

    @property
    def days_intersect(self) -> bool:
        """Both day fields must match (AND); otherwise one of them is enough (OR)."""
        return self.fields[2].starts_with_star or self.fields[4].starts_with_star

    @property
    def is_every_day(self) -> bool:
        """No day of any of its months is left out."""
        either, both = self.fields[2].is_every or self.fields[4].is_every, self.fields[2].is_every
        return both and self.fields[4].is_every if self.days_intersect else either


@lru_cache(maxsize=8192)
def parse(expression: str) -> Cron:
    """Read an expression. Raises `CronError`, whose sentence is meant for people.

    Refused too are expressions that never fire within 50 years, such as `0 0 31 2 *`.
    """
    texts = split(expression)
    minute, hour, day, month, weekday = (read_field(kind, text) for kind, text in zip(KINDS, texts, strict=True))
    fields = (minute, hour, day, month, weekday)
    cron = Cron(" ".join(field.text for field in fields), fields)
    _refuse_if_it_never_fires(cron)
    return cron


def split(expression: str) -> list[str]:
    """The five texts of an expression, not yet looked into. Raises `CronError`."""
    if len(expression) > LONGEST_EXPRESSION:
        message = f"The expression has {len(expression)} characters; {LONGEST_EXPRESSION} are allowed"
        raise CronError("expression", message, "Write ranges and steps instead of long lists.")
    expression = expression.strip(" \t")
    if not expression:
        raise CronError("expression", "The expression is empty", "Write five fields, such as */10 * * * *.")
    if expression.startswith("@"):
        nickname = _NICKNAMES.get(expression.lower())
        hint = f"Write {nickname}." if nickname else "Write five fields, such as 0 2 * * *."
        raise CronError("expression", f"{_shown(expression)} is a nickname; nicknames are not supported", hint)
    texts = re.split(r"[ \t]+", expression)
    if len(texts) != len(KINDS):
        hint = "Write minute, hour, day of month, month and day of week"
        hint += "; there are no fields for seconds or years." if len(texts) > len(KINDS) else "; * is any value."
        raise CronError("expression", f"A cron expression has 5 fields, this one has {len(texts)}", hint)
    return texts


def _refuse_if_it_never_fires(cron: Cron) -> None:
    """Only a date that no month has can keep an expression from firing.

    Every other date, also 29 February on a given weekday, comes round within 40 years. Under OR the day of week fires.
    """
    day, month = cron.fields[2], cron.fields[3]
    if not cron.days_intersect or any(day.values[0] <= _DAYS_OF_MONTH[number - 1] for number in month.values):
        return
    message = f"{cron.expression} never fires: no month of it has a day {day.values[0]}"
    raise CronError("expression", message, "Choose a day of the month that exists, or other months.")


def _shown(text: str) -> str:
    return text if text.isascii() and text.isprintable() else ascii(text)
