"""An expression in plain English, from the same fields that fire it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from libs.schedule.cron import Cron, parse
from libs.schedule.fields import Field

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_MOST_TIMES_LISTED = 6


def describe(expression: str, timezone: str = "UTC") -> str:
    """The expression as people say it: "At 09:00, Monday to Friday". Raises `CronError` as `parse` does.

    Times are local to `timezone`, which the page shows next to these words; the words themselves do not name it.
    """
    del timezone
    cron = parse(expression)
    time = _time(cron)
    days = _days(cron)
    if not days and time.startswith("At ") and not time.startswith("At minute"):
        days = "every day"
    return ", ".join(part for part in (time, days, _months(cron.fields[3])) if part)


def _time(cron: Cron) -> str:
    minute, hour = cron.fields[0], cron.fields[1]
    times = [f"{h:02}:{m:02}" for h in hour.values for m in minute.values]
    if len(minute.values) == 1:
        return _once_an_hour(minute.values[0], hour, times)
    if len(times) <= _MOST_TIMES_LISTED:
        return f"At {_listed(times)}"
    hours = _hours(hour, minute.values)
    step = _step(minute)
    if step is None or (60 % step and "/" not in minute.text):
        run = _run(minute)
        which = f"{run[0]} to {run[1]}" if run else _listed(minute.values)
        return f"At minutes {which} of every hour {hours}".rstrip()
    text = "Every minute" if step == 1 else f"Every {step} minutes"
    if minute.values[0] != 0 and not hours.startswith("from"):
        text += f" from minute {minute.values[0]}"
    text = f"{text} {hours}".rstrip()
    return text if 60 % step == 0 and minute.values[0] < step else f"{text}, starting anew each hour"


def _once_an_hour(minute: int, hour: Field, times: Sequence[str]) -> str:
    at_minute = f", at minute {minute}" if minute else ""
    if hour.is_every:
        return f"Every hour{at_minute}"
    step = _step(hour)
    if step is not None and 24 % step == 0 and hour.values[0] < step and len(times) > 1:
        return f"Every {step} hours{at_minute}" if hour.values[0] == 0 else f"Every {step} hours from {times[0]}"
    run = _run(hour)
    if run is not None:
        return f"Every hour from {run[0]:02}:{minute:02} to {run[1]:02}:{minute:02}"
    return f"At {_listed(times)}"


def _hours(hour: Field, minutes: Sequence[int]) -> str:
    """In which hours, for something that happens more than once in each of them."""
    if hour.is_every:
        return ""
    run = _run(hour) if len(hour.values) > 1 else (hour.values[0], hour.values[0])
    if run is not None:
        return f"from {run[0]:02}:{minutes[0]:02} to {run[1]:02}:{minutes[-1]:02}"
    return f"in the hours {_listed([f'{value:02}' for value in hour.values])}"


def _days(cron: Cron) -> str:
    if cron.is_every_day:
        return ""
    days, weekdays = cron.fields[2], cron.fields[4]
    if weekdays.is_every:
        return _days_of_month(days)
    if days.is_every:
        return _weekdays(weekdays)
    if cron.days_intersect:
        return f"{_days_of_month(days)} if it is {_listed(_in_week_order(weekdays), 'or')}"
    return f"{_days_of_month(days)}, or on {_listed(_in_week_order(weekdays), 'or')}"


def _days_of_month(days: Field) -> str:
    if len(days.values) == 1:
        return f"on day {days.values[0]} of the month"
    run, step = _run(days), _step(days)
    if run is not None:
        return f"on days {run[0]} to {run[1]} of the month"
    if step is not None and len(days.values) > _MOST_TIMES_LISTED:
        return f"every {step} days from day {days.values[0]} of the month"
    return f"on days {_listed(days.values)} of the month"


def _weekdays(field: Field) -> str:
    run = _run(field)
    if run is not None:
        return f"{_WEEKDAYS[run[0]]} to {_WEEKDAYS[run[1]]}"
    return f"on {_listed(_in_week_order(field))}"


def _in_week_order(field: Field) -> list[str]:
    """From Monday on: people say "Saturday and Sunday"."""
    return [_WEEKDAYS[value] for value in sorted(field.values, key=lambda value: (value - 1) % 7)]


def _months(field: Field) -> str:
    if field.is_every:
        return ""
    run = _run(field)
    if run is not None:
        return f"from {_MONTHS[run[0] - 1]} to {_MONTHS[run[1] - 1]}"
    return f"in {_listed([_MONTHS[value - 1] for value in field.values])}"


def _step(field: Field) -> int | None:
    """The distance of evenly spaced values that reach to the field's end; None for others."""
    values = field.values
    gaps = {after - before for before, after in pairwise(values)}
    if len(gaps) != 1:
        return None
    step = gaps.pop()
    return step if values[-1] + step > field.kind.high else None


def _run(field: Field) -> tuple[int, int] | None:
    """First and last of at least three values in a row, also around the end; None for others."""
    values, span = field.values, field.kind.span
    if len(values) < 3 or field.is_every:
        return None
    starts = [
        value for value, before in zip(values, (values[-1], *values), strict=False) if (value - before) % span != 1
    ]
    if len(starts) != 1:
        return None
    at = values.index(starts[0])
    return starts[0], values[at - 1]


def _listed(items: Sequence[object], last: str = "and") -> str:
    texts = [str(item) for item in items]
    if len(texts) == 1:
        return texts[0]
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}"
