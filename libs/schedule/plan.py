"""What is due? The scheduler's question, answered without a clock, a database or a broker.

`decide` is given a deployment's plan and the time, and says which fires get a row now, which of them runs, what becomes
of the deployment and when to ask again. It promises:

- every nominal fire from `next_fire_at` on gets exactly one decision, as a `Fire` or inside the `Backlog`;
- with catch-up `latest` and `none` at most one fire triggers: the newest that is due, if its window is still open;
- with `all` every fire whose window is still open triggers, at most a hundred: alone and on time it goes out at once,
  else it is *held*, to be released when the one before it has ended;
- its work is bounded after any time away: what is older than a hundred fires is left to `missed`, step by step.

It does not say whether the run may start now: that is the host's decision. All times are aware and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import assert_never
from uuid import UUID

from libs.contracts import CatchUp, DeploymentStatus, Kind, Reason
from libs.schedule.occurrences import next_occurrence, occurrences

__all__ = [
    "ON_TIME_SECONDS",
    "ROWS_AT_ONCE",
    "Backlog",
    "CatchUp",
    "Decision",
    "Fire",
    "Plan",
    "decide",
    "due_at",
    "first_fire",
    "missed",
    "window_seconds",
]

# A fire that is no later than this ran on time; it is also the window of deployments that do not catch up.
ON_TIME_SECONDS = 60
# So many missed fires are written in the transaction that fires; more become a backlog. As many may be held at once.
ROWS_AT_ONCE = 100

_INSTANT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment as the rules of time see it.

    `execution_count` are the completed, failed, and those cancelled after their start. `counted_from` is the later of
    creation and last resume. `next_fire_at` is the first nominal fire that is not yet decided.
    """

    deployment_id: UUID
    status: DeploymentStatus
    version: int
    cron_expression: str
    timezone: str
    start_date: datetime | None
    end_date: datetime | None
    max_executions: int | None
    execution_count: int
    counted_from: datetime
    next_fire_at: datetime | None
    catch_up: CatchUp
    catch_up_window_seconds: int


@dataclass(frozen=True, slots=True)
class Fire:
    """One nominal fire, decided: with no `reason` it triggers, else it is a row `skipped` with that reason.

    After `not_after` it must not start any more; of a `held` fire that counts anew from its release. `late_seconds` is
    how late the decision came.
    """

    scheduled_at: datetime
    kind: Kind
    not_after: datetime
    reason: Reason | None
    late_seconds: float
    held: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """Missed fires still to be written: `from_at` <= fire < `until_at`, and `from_at` is itself the first of them."""

    from_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write now.

    `fires` are in the order of time. `status` is EXPIRED or COMPLETED when the deployment ends by this, else None.
    `next_fire_at` replaces the plan's; at `next_due_at` (a fire or the end date) `decide` is to be asked again.
    """

    fires: tuple[Fire, ...]
    status: DeploymentStatus | None
    next_fire_at: datetime | None
    next_due_at: datetime | None
    backlog: Backlog | None


def first_fire(
    cron_expression: str,
    timezone: str,
    start_date: datetime | None,
    end_date: datetime | None,
    counted_from: datetime,
) -> datetime | None:
    """The first nominal fire in [start, end), counted from the later of `start_date` and `counted_from`, inclusive.

    For creation, resume and edits. None when there is none before the end, or within 50 years. Raises `CronError`.
    """
    start = counted_from if start_date is None else max(start_date, counted_from)
    found = next_occurrence(cron_expression, timezone, start - _INSTANT)
    return None if found is None or (end_date is not None and found >= end_date) else found


def due_at(next_fire_at: datetime | None, end_date: datetime | None) -> datetime | None:
    """When the deployment wants attention: the next fire or the end date, whichever is first. None: never."""
    return min((at for at in (next_fire_at, end_date) if at is not None), default=None)


def window_seconds(catch_up: CatchUp, catch_up_window_seconds: int) -> int:
    """How late a fire of this policy may still start, in seconds."""
    match catch_up:
        case CatchUp.NONE:
            return ON_TIME_SECONDS
        case CatchUp.LATEST | CatchUp.ALL:
            return catch_up_window_seconds
        case _:
            assert_never(catch_up)


def decide(plan: Plan, now: datetime, in_flight: int, held: int = 0) -> Decision:
    """Decide everything that is due at `now`.

    `in_flight` are its rows `triggered`, `queued` and `running`; `held` are those of them that wait to be released.
    """
    if plan.status is DeploymentStatus.PAUSED:
        over = plan.end_date is not None and now >= plan.end_date
        return Decision((), DeploymentStatus.EXPIRED if over else None, None, None if over else plan.end_date, None)
    if plan.status is not DeploymentStatus.ACTIVE:
        return Decision((), None, None, None, None)
    fires: tuple[Fire, ...] = ()
    backlog = None
    upcoming = _undecided(plan)
    ended = plan.end_date is not None and now >= plan.end_date
    if upcoming is not None and upcoming <= now and (plan.end_date is None or upcoming < plan.end_date):
        last_instant = plan.end_date - _INSTANT if plan.end_date is not None and ended else now
        newest = _newest(plan, upcoming, last_instant)
        if plan.catch_up is CatchUp.ALL:
            run = _run_all(plan, upcoming, newest, now, in_flight, held)
        else:
            run = (_latest(plan, newest, now, in_flight),)
        fires, backlog = _older(plan, upcoming, run[0].scheduled_at, now)
        fires += run
        upcoming = next_occurrence(plan.cron_expression, plan.timezone, newest)
    if _is_used_up(plan):
        return Decision(fires, DeploymentStatus.COMPLETED, None, None, backlog)
    if ended:
        return Decision(fires, DeploymentStatus.EXPIRED, None, None, backlog)
    if upcoming is not None and plan.end_date is not None and upcoming >= plan.end_date:
        upcoming = None
    return Decision(fires, None, upcoming, due_at(upcoming, plan.end_date), backlog)


def missed(
    backlog: Backlog,
    expression: str,
    timezone: str,
    limit: int = 500,
    *,
    now: datetime | None = None,
    window: int = ON_TIME_SECONDS,
) -> tuple[tuple[Fire, ...], Backlog | None]:
    """The oldest `limit` fires of a backlog, and what is left of it (None: nothing).

    `window` is the plan's `window_seconds`. `late_seconds` counts to `now`, or to the end of the backlog without it.
    """
    until = backlog.until_at - _INSTANT
    later = occurrences(expression, timezone, backlog.from_at, until)
    ats = [backlog.from_at, *islice(later, limit)] if backlog.from_at <= until else []
    fires = tuple(_missed(at, window, now or backlog.until_at) for at in ats[:limit])
    rest = Backlog(ats[limit], backlog.until_at) if len(ats) > limit else None
    return fires, rest


def _undecided(plan: Plan) -> datetime | None:
    """The plan's next fire, but never one from before its start or its last resume."""
    if plan.next_fire_at is None:
        return None
    begin = plan.counted_from if plan.start_date is None else max(plan.start_date, plan.counted_from)
    if plan.next_fire_at >= begin:
        return plan.next_fire_at
    return first_fire(plan.cron_expression, plan.timezone, plan.start_date, plan.end_date, plan.counted_from)


def _newest(plan: Plan, first: datetime, last_instant: datetime) -> datetime:
    """The last fire up to `last_instant`, by halving: some twenty searches even after two years of every minute."""
    newest, empty_after = first, last_instant
    # Fires lie at least a minute apart, so a shorter stretch holds no other: on time, nothing is searched at all.
    while empty_after - newest >= _MINUTE:
        middle = newest + (empty_after - newest) / 2
        ahead = next_occurrence(plan.cron_expression, plan.timezone, middle)
        if ahead is not None and ahead <= empty_after:
            newest = ahead
        else:
            empty_after = middle
    return newest


def _older(plan: Plan, first: datetime, until: datetime, now: datetime) -> tuple[tuple[Fire, ...], Backlog | None]:
    """What is missed: the fires from `first` on, before `until`."""
    if first == until:
        return (), None
    ats = _from_until(plan.cron_expression, plan.timezone, first, until)
    if len(ats) > ROWS_AT_ONCE:
        return (), Backlog(first, until)
    window = window_seconds(plan.catch_up, plan.catch_up_window_seconds)
    return tuple(_missed(at, window, now) for at in ats), None


@lru_cache(maxsize=256)  # after an outage thousands of deployments have the same few lists
def _from_until(expression: str, timezone: str, first: datetime, until: datetime) -> tuple[datetime, ...]:
    """The fire `first` and those after it, before `until`; at most one more than are written at once."""
    return (first, *islice(occurrences(expression, timezone, first, until - _INSTANT), ROWS_AT_ONCE))


def _latest(plan: Plan, at: datetime, now: datetime, in_flight: int) -> Fire:
    window = window_seconds(plan.catch_up, plan.catch_up_window_seconds)
    late = (now - at).total_seconds()
    if late > window:
        return _missed(at, window, now)
    reason = None
    if _is_used_up(plan):
        reason = Reason.LIMIT_REACHED
    elif plan.max_executions is not None and plan.execution_count + in_flight >= plan.max_executions:
        reason = Reason.LIMIT_IN_FLIGHT
    kind = Kind.CRON if late <= ON_TIME_SECONDS else Kind.CATCH_UP
    return Fire(at, kind, at + timedelta(seconds=window), reason, late)


def _run_all(
    plan: Plan, first: datetime, newest: datetime, now: datetime, in_flight: int, held: int
) -> tuple[Fire, ...]:
    """Catch-up `all`: the newest fires whose window is open, as many as may still be held; the newest one at least.

    When several have to share what the limit leaves, the oldest get it: they run first.
    """
    window = window_seconds(plan.catch_up, plan.catch_up_window_seconds)
    room = ROWS_AT_ONCE - held
    opened = max(first, now - timedelta(seconds=window))
    if newest < opened or room <= 0:
        return (_missed(newest, window, now),)
    ats = _last(plan, opened, newest, room)
    late = [(now - at).total_seconds() for at in ats]
    is_held = len(ats) > 1 or held > 0 or late[0] > ON_TIME_SECONDS
    left = None if plan.max_executions is None else plan.max_executions - plan.execution_count - in_flight
    fires = []
    for number, (at, seconds) in enumerate(zip(ats, late, strict=True)):
        reason = None
        if _is_used_up(plan):
            reason = Reason.LIMIT_REACHED
        elif left is not None and number >= left:
            reason = Reason.LIMIT_IN_FLIGHT
        kind = Kind.CRON if seconds <= ON_TIME_SECONDS else Kind.CATCH_UP
        until = at + timedelta(seconds=window)
        fires.append(Fire(at, kind, until, reason, seconds, held=is_held and reason is None))
    return tuple(fires)


def _last(plan: Plan, opened: datetime, newest: datetime, most: int) -> tuple[datetime, ...]:
    """The last `most` fires from `opened` to `newest`, which is one: looked for backwards, in spans that double."""
    span = most * _MINUTE
    while True:
        begin = max(opened, newest - span)
        ats = tuple(occurrences(plan.cron_expression, plan.timezone, begin - _INSTANT, newest))
        if len(ats) >= most or begin == opened:
            return ats[-most:]
        span *= 2


def _is_used_up(plan: Plan) -> bool:
    return plan.max_executions is not None and plan.execution_count >= plan.max_executions


def _missed(at: datetime, window: int, now: datetime) -> Fire:
    return Fire(at, Kind.CRON, at + timedelta(seconds=window), Reason.MISSED, (now - at).total_seconds())
