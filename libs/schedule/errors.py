"""What can be wrong with a schedule that a person wrote: one sentence, and what to write instead."""

from __future__ import annotations

from typing import Literal

FieldName = Literal["minute", "hour", "day_of_month", "month", "day_of_week", "expression", "timezone"]


class CronError(ValueError):
    """A cron expression or a time zone is refused.

    `field` names the part at fault (`expression`: the whole), `message` is the sentence for people, `hint` says what
    to write instead and may be empty.
    """

    def __init__(self, field: FieldName, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[CronError], tuple[FieldName, str, str]]:
        return CronError, (self.field, self.message, self.hint)
