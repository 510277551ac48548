"""I1, the rule: which fires a deployment's history demands, and which rows it has. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import DeploymentStatus, rfc3339
from libs.schedule import occurrences

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Interval:
    """One version of a deployment, as far as it says which fires there are. Times in UTC."""

    valid_from: datetime
    counted_from: datetime
    cron_expression: str
    timezone: str
    start_date: datetime | None
    end_date: datetime | None
    status: DeploymentStatus
    deleted: bool


@dataclass(frozen=True, slots=True)
class History:
    """A deployment's versions, oldest first, and the first fire that is not decided yet (None: all are).

    `backlogs` are the stretches (from, until) whose missed rows are still to be written.
    """

    deployment_id: UUID
    name: str
    intervals: tuple[Interval, ...]
    next_fire_at: datetime | None
    backlogs: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """The nominal times of a deployment's cron rows in the checked period.

    `told_by_host` are of those that only the host knew (a restored ledger): they may be of versions that are lost.
    `misnamed` have another id than their fire's.
    """

    fires: frozenset[datetime] = frozenset()
    told_by_host: frozenset[datetime] = frozenset()
    misnamed: frozenset[datetime] = frozenset()


class Period:
    """The checked time, both ends inclusive. Deployments share schedules: each is worked out once."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self.since = since
        self.until = until
        self._fires: dict[tuple[str, str], tuple[datetime, ...]] = {}

    def fires(self, expression: str, timezone: str) -> tuple[datetime, ...]:
        """All that the expression gives in the period."""
        key = expression, timezone
        if key not in self._fires:
            self._fires[key] = tuple(occurrences(expression, timezone, self.since - _INSTANT, self.until))
        return self._fires[key]


def nominal(history: History, period: Period) -> frozenset[datetime]:
    """Every fire of the period that must have been decided.

    What was due at the very instant of a change was decided before it; a creation and a resume count themselves.
    """
    found: set[datetime] = set()
    for number, version in enumerate(history.intervals):
        if version.status is not DeploymentStatus.ACTIVE or version.deleted:
            continue
        first = version.valid_from if version.valid_from == version.counted_from else version.valid_from + _INSTANT
        first = max(first, period.since, version.counted_from, *([version.start_date] if version.start_date else []))
        last = period.until
        if number + 1 < len(history.intervals):
            last = min(last, history.intervals[number + 1].valid_from)
        elif history.next_fire_at is not None:
            last = min(last, history.next_fire_at - _INSTANT)
        if version.end_date is not None:
            last = min(last, version.end_date - _INSTANT)
        if first <= last:
            fires = period.fires(version.cron_expression, version.timezone)
            found.update(fires[bisect_left(fires, first) : bisect_right(fires, last)])
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Misfits:
    """What does not fit, a sentence each."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()

    def __add__(self, other: Misfits) -> Misfits:
        """These and those."""
        return Misfits(self.missing + other.missing, self.extra + other.extra, self.misnamed + other.misnamed)


def broken(history: History, rows: Rows, period: Period) -> Misfits:
    """What does not fit of this deployment."""
    wanted = nominal(history, period)
    if not rows.misnamed and wanted == rows.fires:
        return _FITS  # nearly always, and of thousands
    whose = f"{history.name} ({history.deployment_id})"
    missing = [
        at
        for at in sorted(wanted - rows.fires - rows.told_by_host)
        if not any(begin <= at < end for begin, end in history.backlogs)
    ]
    return Misfits(
        tuple(f"{whose} has no row for its fire at {rfc3339(at)}" for at in missing),
        tuple(f"{whose} has a row for {rfc3339(at)}, at which it had no fire" for at in sorted(rows.fires - wanted)),
        tuple(f"{whose} has a row for {rfc3339(at)} with an id that is not its fire's" for at in sorted(rows.misnamed)),
    )


def broken_of_all(histories: Sequence[History], rows: Mapping[UUID, Rows], period: Period) -> Misfits:
    """What does not fit of all of these."""
    nothing = Rows()
    found = (broken(history, rows.get(history.deployment_id, nothing), period) for history in histories)
    return sum((one for one in found if one is not _FITS), _FITS)


_FITS = Misfits()
