"""The deployments log: what happens on this host, in lines that people of the lab know and search with `grep`.

The start-up block goes to standard output too, so that the service manager's journal shows it. A log that cannot be
opened is replaced by `STATE_DIR/deployments.log` with one warning; a run never fails because of its log.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

from libs.contracts import DeploymentState, ExecutionStatus, Notice, Trigger
from services.host_runner.core import log_lines
from services.host_runner.core.host import Run
from services.host_runner.core.log_lines import Line
from services.host_runner.core.outcome import Outcome
from services.host_runner.core.vocabulary import (
    Cancelled,
    Command,
    Event,
    Finished,
    Queued,
    Report,
    RunRequested,
    Skipped,
    Spawn,
)
from services.host_runner.log_file import MAX_BYTES, open_log

REMEMBERED_NOTICES = 1000
"""So many are known again when they come twice."""


class DeploymentsLog:
    """Writes the lines. One per process; `close` it. `now` is the time that the lines bear."""

    def __init__(self, path: Path, state_dir: Path, host: str, *, max_bytes: int = MAX_BYTES) -> None:
        self._host = host
        self._counts: dict[UUID, int] = {}
        self._limits: dict[UUID, int | None] = {}
        self._noticed: dict[UUID, None] = {}
        self._has_started_up = False
        self._file = open_log(path, state_dir, max_bytes)

    def close(self) -> None:
        """Gives the file back."""
        self._file.close()

    def synced(self, deployments: Iterable[DeploymentState], now: datetime) -> None:
        """The centre said what this host has to do; the first time, that is the start-up block."""
        deployments = tuple(deployments)
        for one in deployments:
            self._follow(one)
        if self._has_started_up:
            return
        self._has_started_up = True
        block = "".join(f"{line.written(now)}\n" for line in log_lines.start_up(self._host, deployments))
        for line in block.splitlines():
            self._file.append(line)
        # Once the file is rotated, people still find it there, with the time that it had.
        self._file.head = block
        _print(block)

    def noticed(self, notice: Notice, now: datetime) -> None:
        """The centre tells of a change; the same notice again says nothing."""
        if notice.command_id in self._noticed:
            return
        self._noticed[notice.command_id] = None
        if len(self._noticed) > REMEMBERED_NOTICES:
            del self._noticed[next(iter(self._noticed))]
        self._follow(notice)
        for line in log_lines.noticed(notice):
            self._write(line, now)

    def happened(self, event: Event, commands: Iterable[Command], now: datetime) -> None:
        """The lines of one decision."""
        commands = tuple(commands)
        if isinstance(event, RunRequested) and commands:
            self._limits[event.trigger.deployment_id] = event.trigger.max_executions
            is_refused = any(isinstance(each, Report) and each.is_last for each in commands)
            if not is_refused:
                self._write(log_lines.triggered(event.trigger, event.now), now)
        for command in commands:
            match command:
                case Spawn(run):
                    self._write(log_lines.executing(run), now)
                case Report(run, word):
                    self._says(run, word, now)
                case _:
                    pass

    def _says(self, run: Run, word: object, now: datetime) -> None:
        name = run.trigger.deployment_name
        match word:
            case Queued():
                self._write(log_lines.queued(run, word), now)
            case Skipped(_, message):
                self._write(log_lines.skipped(name, message), now)
            case Cancelled():
                self._write(log_lines.skipped(name, "It was cancelled"), now)
            case Finished(outcome) if _never_began(outcome):
                self._write(log_lines.skipped(name, "It was cancelled"), now)
            case Finished(outcome):
                for line in log_lines.ended(name, outcome, self._count(run.trigger)):
                    self._write(line, now)
            case _:
                pass

    def _write(self, line: Line, now: datetime) -> None:
        self._file.append(line.written(now))

    def _follow(self, told: DeploymentState | Notice) -> None:
        # The centre may not have heard yet of what ended here last: a count never goes back.
        self._counts[told.deployment_id] = max(self._counts.get(told.deployment_id, 0), told.execution_count)
        self._limits[told.deployment_id] = told.max_executions

    def _count(self, trigger: Trigger) -> str:
        # A run that waited carries the count of the time when it was fired; this host has counted on since.
        count = max(self._counts.get(trigger.deployment_id, 0), trigger.execution_count) + 1
        self._counts[trigger.deployment_id] = count
        return log_lines.count(count, self._limits.get(trigger.deployment_id, trigger.max_executions))


def _print(block: str) -> None:
    # Whoever reads it may be gone, or know fewer signs than we write; neither may keep the host from its work.
    known = sys.stdout.encoding or "utf-8"
    with suppress(OSError):
        sys.stdout.write(block.encode(known, "backslashreplace").decode(known))
        sys.stdout.flush()


def _never_began(outcome: Outcome) -> bool:
    """Only who was cancelled after the start counts as an execution."""
    return outcome.status is ExecutionStatus.CANCELLED and outcome.duration_seconds is None
