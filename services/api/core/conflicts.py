"""Who else is due on a device at the same minute, and what to write instead. Pure.

Two scripts on one device cannot both start: what `on_device_busy` says of the second becomes of one of them. People see
that before they save. Only what is due at the very minute counts here, not what still runs from before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain, islice
from typing import Final
from zoneinfo import ZoneInfo

from libs.contracts import OnDeviceBusy, Reason
from libs.schedule import Cron, next_occurrence, occurrences, parse, zone

_INSTANT = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_FOUR_YEARS: Final = 1461  # days

FIRES_LOOKED_AT: Final = 200
"""An alternative is free of conflicts for at least so many of its fires."""

_WOULD = {OnDeviceBusy.SKIP: f"skipped: {Reason.DEVICE_BUSY}", OnDeviceBusy.QUEUE: "waits"}


@dataclass(frozen=True, slots=True)
class Other:
    """An active deployment that uses a device; it fires in [start, end). `name` is what the reader may know of it."""

    host_name: str
    device_id: str
    name: str
    cron_expression: str
    timezone: str
    start_date: datetime | None = None
    end_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else's fire on this device at the same instant."""

    at: datetime
    host_name: str
    device_id: str
    deployment: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule in question; its fires lie in [begin, until]."""

    cron_expression: str
    timezone: str
    begin: datetime
    until: datetime

    def fires(self, count: int) -> list[datetime]:
        """The first so many."""
        return list(islice(self.all_fires(), count))

    def all_fires(self) -> Iterator[datetime]:
        """Every one, lazily."""
        return occurrences(self.cron_expression, self.timezone, self.begin - _INSTANT, self.until)


def would(on_device_busy: OnDeviceBusy) -> str:
    """What becomes of one of two that are due at the same minute."""
    return _WOULD[on_device_busy]


class Busy:
    """The fires of many deployments, asked for by the instant; made once, so that a look costs little.

    Raises `CronError` for an expression or a zone that is not valid.
    """

    def __init__(self, others: Iterable[Other]) -> None:
        self._by_zone: dict[str, list[list[Other]]] = {}
        self._fixed: dict[str, list[Other]] = {}
        for other in others:
            cron = parse(other.cron_expression)
            by_minute = self._by_zone.setdefault(other.timezone, [[] for _ in range(60)])
            for minute in cron.fields[0].values:
                by_minute[minute].append(other)
            if cron.is_fixed_time:
                self._fixed.setdefault(other.timezone, []).append(other)

    def at(self, at: datetime) -> Iterator[Other]:
        """Those that are due then."""
        for timezone, by_minute in self._by_zone.items():
            tz = zone(timezone)
            local = at.astimezone(tz)
            if local.second or local.microsecond:
                continue
            shifted = _offset(at - _INSTANT, tz) < _offset(at, tz)
            for other in by_minute[local.minute]:
                if _is_on_time(parse(other.cron_expression), local, shifted=shifted) and _is_within(other, at):
                    yield other
            if shifted:
                # What the clocks skipped runs right after: which of them, the engine itself says.
                for other in self._fixed.get(timezone, ()):
                    due = next_occurrence(other.cron_expression, timezone, at - _INSTANT) == at
                    if due and _is_within(other, at):
                        yield other


def conflicts(fires: Iterable[datetime], busy: Busy) -> list[Conflict]:
    """Every fire of others at one of these instants, in the order of time, host, device, name."""
    found = [Conflict(at, other.host_name, other.device_id, other.name) for at in fires for other in busy.at(at)]
    return sorted(found, key=lambda each: (each.at, each.host_name, each.device_id, each.deployment))


def alternative(schedule: Schedule, busy: Busy) -> str | None:
    """The same cadence at another minute, free of conflicts; the nearest one. None when there is none.

    The minutes are turned within their hour: as many runs, in the same hours of the same days.
    """
    minutes = parse(schedule.cron_expression).fields[0].values
    rest = schedule.cron_expression.split(maxsplit=1)[1]
    seen = {frozenset(minutes)}
    # A turn that carries no minute over the end of the hour first: it shifts everything by the same time.
    for turn in sorted(range(1, 60), key=lambda turn: (minutes[-1] + turn > 59, turn)):
        turned = sorted((minute + turn) % 60 for minute in minutes)
        if frozenset(turned) in seen:
            continue
        seen.add(frozenset(turned))
        candidate = Schedule(f"{_minutes(turned)} {rest}", schedule.timezone, schedule.begin, schedule.until)
        if _is_free(candidate, busy):
            return candidate.cron_expression
    return None


def runs_per_day(cron_expression: str, from_day: date) -> float:
    """On average over four years from that day on; daylight saving, start and end are left out of account."""
    cron = parse(cron_expression)
    days = sum(_is_on(cron, from_day + passed * _DAY) for passed in range(_FOUR_YEARS))
    return round(len(cron.fields[0].values) * len(cron.fields[1].values) * days / _FOUR_YEARS, 3)


def _is_free(schedule: Schedule, busy: Busy) -> bool:
    fires = islice(schedule.all_fires(), FIRES_LOOKED_AT)
    first = next(fires, None)
    return first is not None and not any(True for at in chain((first,), fires) for _ in busy.at(at))


def _is_within(other: Other, at: datetime) -> bool:
    return (other.start_date is None or other.start_date <= at) and (other.end_date is None or at < other.end_date)


def _is_on_time(cron: Cron, local: datetime, *, shifted: bool) -> bool:
    """Whether it fires when the clocks show `local`; what a change of the clocks shifted is not looked for here."""
    if cron.is_fixed_time and (local.fold or shifted):
        return False
    return local.hour in cron.fields[1].values and _is_on(cron, local.date())


def _offset(at: datetime, tz: ZoneInfo) -> timedelta:
    return at.astimezone(tz).utcoffset() or timedelta(0)


def _is_on(cron: Cron, day: date) -> bool:
    _, _, days, months, weekdays = cron.fields
    if day.month not in months.values:
        return False
    on_day, on_weekday = day.day in days.values, day.isoweekday() % 7 in weekdays.values
    return (on_day and on_weekday) if cron.days_intersect else (on_day or on_weekday)


def _minutes(values: Sequence[int]) -> str:
    """The shortest way to write these: a step where they are evenly spread over the hour, else a list."""
    if len(values) > 1:
        step = values[1] - values[0]
        evenly = list(range(values[0], 60, step)) == list(values)
        if evenly and 60 % step == 0 and values[0] < step:
            return f"*/{step}" if values[0] == 0 else f"{values[0]}-59/{step}"
    return ",".join(str(value) for value in values)
