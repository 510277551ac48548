"""The lines of the deployments log, as text: what people of the lab know and search with `grep`. Pure.

Words and signs do not change: `grep "TRIGGERED"`, `"QUEUED"`, `"EXECUTING QUEUED"`, `"Already queued"`, `"ERROR"`,
`"Duration:"` and `"DEPLOYMENTS"` find what they always found, and nothing else of ours. Times are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from libs.contracts import (
    SENTENCES,
    Change,
    DeploymentState,
    DeploymentStatus,
    ExecutionStatus,
    Notice,
    Reason,
    Trigger,
)
from services.host_runner.core.host import Run
from services.host_runner.core.outcome import Outcome
from services.host_runner.core.vocabulary import Queued

WIDTH = 80
# One column left of the middle, as it always was.
TITLE = f"{'':33}DEPLOYMENTS{'':35}"

OWN_VERDICTS = frozenset({Reason.EXIT_CODE, Reason.SCRIPT_REPORTED_FAILURE, Reason.CANCELLED_BY_USER})
"""The script ended by itself, or a person ended it: its result is no error of the execution."""

# Control characters (a line break, a terminal's escape) and what turns the direction of text for a whole line.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LAST = datetime.max.replace(tzinfo=UTC)


class Level(StrEnum):
    """The word in brackets."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its time. The text may hold what people typed; `written` makes it harmless."""

    text: str
    level: Level = Level.INFO

    def written(self, now: datetime) -> str:
        """`2025-10-16 14:00:00 [INFO] …`: always one line, whatever is in a name."""
        return f"{_seconds(now)} [{self.level}] {_UNSAFE.sub(_escaped, self.text)}"


def start_up(host: str, deployments: Iterable[DeploymentState]) -> Iterator[Line]:
    """The block that says what this host has to do, what is due first first."""
    active = [one for one in deployments if one.status is DeploymentStatus.ACTIVE]
    yield Line(f"=== DEPLOYMENT SCHEDULER STARTING === Host: {host}")
    yield Line("")
    yield Line("=" * WIDTH)
    yield Line(TITLE)
    yield Line("=" * WIDTH)
    yield Line(f"Active: {len(active)}")
    yield Line("")
    for one in sorted(active, key=lambda each: (each.next_fire_at or _LAST, each.name)):
        yield Line(f"• {one.name}")
        yield Line(f"  Last execution:  {_moment(one.last_executed_at)}")
        yield Line(f"  Next execution:  {_moment(one.next_fire_at)}")
        yield Line(f"  Frequency:       {_schedule(one)}")
        yield Line(f"  Executions:      {count(one.execution_count, one.max_executions)}")
        yield Line("")
    yield Line("=" * WIDTH)


def triggered(trigger: Trigger, now: datetime) -> Line:
    """It is taken, to run or to wait."""
    return Line(f"⚡ TRIGGERED: {trigger.deployment_name} | Time: {_moment(now)}")


def executing(run: Run) -> Line:
    """Its script starts."""
    name = run.trigger.deployment_name
    if run.queued_at is not None:
        return Line(f"🔄 EXECUTING QUEUED: {name} | Queued at: {_seconds(run.queued_at)}")
    return Line(f"▶️  EXECUTING: {name} | Script: {run.trigger.script_name} | Device: {run.device}")


def queued(run: Run, word: Queued) -> Line:
    """It waits, and for what."""
    match word.reason:
        case None:
            when = "after current execution"
        case Reason.HOST_BUSY:
            when = "when another script on this host has ended"
        case _:
            when = f"when {run.device} is free"
    return Line(f"⏳ QUEUED: {run.trigger.deployment_name} | Will run {when}")


def skipped(name: str, message: str) -> Line:
    """It will not run."""
    return Line(f"⏭️  SKIPPED: {name} | {message}", Level.WARN)


def ended(name: str, outcome: Outcome, executions: str) -> Iterator[Line]:
    """It is over. `executions` is the count after it."""
    if outcome.reason is not None and outcome.reason not in OWN_VERDICTS:
        yield Line(f"💥 ERROR: {name} | {outcome.message}", Level.ERROR)
    good = outcome.status is ExecutionStatus.COMPLETED
    result = f"Duration: {outcome.duration_seconds or 0.0:.1f}s | Success: {good} | Executions: {executions}"
    yield Line(f"{'✅' if good else '❌'} COMPLETED: {name} | {result}")


def noticed(notice: Notice) -> Iterator[Line]:
    """What the centre tells of a deployment."""
    name, said = notice.deployment_name, _said(notice.by, notice.message)
    executions = f"Executions: {count(notice.execution_count, notice.max_executions)}"
    match notice.change:
        case Change.CREATED:
            limit = executions if notice.max_executions is not None else ""
            parts = (f"Cron: {_schedule(notice)}", f"Device: {notice.device_id}", limit, said)
            yield Line(_joined("➕ ADDED", name, *parts))
        case Change.EDITED:
            yield Line(_joined("🔄 EDITED", name, f"Cron: {_schedule(notice)}", executions, said))
        case Change.DELETED:
            yield Line(_joined("🔄 REMOVED", name, said))
        case Change.SKIPPED:
            yield skipped(name, notice.message or SENTENCES[Reason.MISSED])
        case Change.STATUS:
            yield from _status(notice, said)


def _status(notice: Notice, said: str) -> Iterator[Line]:
    name = notice.deployment_name
    match notice.status:
        case DeploymentStatus.COMPLETED:
            why = notice.message or SENTENCES[Reason.LIMIT_REACHED]
            limit = count(notice.execution_count, notice.max_executions)
            yield Line(f"⚠️  CONSTRAINT: {name} | {why} ({limit})", Level.WARN)
            yield Line(_joined("🔄 STATUS", name, "completed"))
        case DeploymentStatus.EXPIRED:
            yield Line(f"⚠️  CONSTRAINT: {name} | {notice.message or SENTENCES[Reason.EXPIRED]}", Level.WARN)
            yield Line(_joined("🔄 STATUS", name, "expired"))
        case DeploymentStatus.ACTIVE:  # it can only have been paused before
            yield Line(_joined("🔄 STATUS", name, "resumed", said))
        case status:
            yield Line(_joined("🔄 STATUS", name, status, said))


def count(executions: int, limit: int | None) -> str:
    """`8/20`, or `15/∞`."""
    return f"{executions}/{'∞' if limit is None else limit}"


def _joined(what: str, name: str, *parts: str) -> str:
    return " | ".join((f"{what}: {name}", *filter(None, parts)))


def _said(by: str | None, message: str) -> str:
    return ": ".join(filter(None, (f"by {by}" if by else "", message)))


def _schedule(one: DeploymentState | Notice) -> str:
    return one.cron_expression if one.timezone == "UTC" else f"{one.cron_expression} ({one.timezone})"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _seconds(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{_seconds(at)} UTC"
