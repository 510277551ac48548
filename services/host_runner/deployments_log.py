"""The deployments log: what happens on this host, in lines that people of the lab know and search with `grep`.

The lines are the public face of the host; their words and signs do not change. Times in them are UTC. The start-up
block goes to standard output too, so that the service manager's journal shows it. A log that cannot be opened is
replaced by `STATE_DIR/deployments.log` with one warning; a run never fails because of its log.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from uuid import UUID

from libs.chassis.logs import get_logger
from libs.contracts import DeploymentState, DeploymentStatus, ExecutionStatus, Trigger
from services.host_runner.core.host import Run
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

MAX_BYTES = 10 << 20
BACKUPS = 5
WIDTH = 80
# One column left of the middle, as it always was.
TITLE = f"{'':33}DEPLOYMENTS{'':35}"

log = get_logger(__name__)


class DeploymentsLog:
    """Writes the lines. One per process; `close` it."""

    def __init__(self, path: Path, state_dir: Path, host: str) -> None:
        self._host = host
        self._counts: dict[UUID, int] = {}
        self._handler = _open(path, state_dir)
        self._logger = logging.Logger(f"deployments.{host}", logging.INFO)
        self._logger.addHandler(self._handler)

    def close(self) -> None:
        """Gives the file back."""
        self._handler.close()

    def start_up(self, deployments: Iterable[DeploymentState]) -> None:
        """The block that says what this host has to do."""
        lines = list(self._block(deployments))
        for line in lines:
            self._logger.info("%s", line)
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        sys.stdout.write("".join(f"{now} [INFO] {line}\n" for line in lines))
        sys.stdout.flush()

    def _block(self, deployments: Iterable[DeploymentState]) -> Iterable[str]:
        known = sorted(deployments, key=lambda one: one.name)
        active = [one for one in known if one.status is DeploymentStatus.ACTIVE]
        self._counts.update((one.deployment_id, one.execution_count) for one in known)
        yield f"=== DEPLOYMENT SCHEDULER STARTING === Host: {self._host}"
        yield ""
        yield "=" * WIDTH
        yield TITLE
        yield "=" * WIDTH
        yield f"Active: {len(active)}"
        yield ""
        for one in active:
            yield f"• {one.name}"
            yield f"  Last execution:  {_moment(one.last_executed_at)}"
            yield f"  Next execution:  {_moment(one.next_fire_at)}"
            yield f"  Frequency:       {one.cron_expression}{'' if one.timezone == 'UTC' else f' ({one.timezone})'}"
            yield f"  Executions:      {one.execution_count}/{one.max_executions or '∞'}"
            yield ""
        yield "=" * WIDTH

    def happened(self, event: Event, commands: Iterable[Command]) -> None:
        """The lines of one decision."""
        commands = tuple(commands)
        if isinstance(event, RunRequested) and commands:
            trigger = event.trigger
            self._logger.info("%s", f"⚡ TRIGGERED: {trigger.deployment_name} | Time: {_moment(event.now)}")
        for command in commands:
            match command:
                case Spawn(run):
                    self._starts(run)
                case Report(run, word):
                    self._says(run, word)
                case _:
                    pass

    def _starts(self, run: Run) -> None:
        name = run.trigger.deployment_name
        if run.queued_at is None:
            what = f"Script: {run.trigger.script_name} | Device: {run.device}"
            self._logger.info("%s", f"▶️  EXECUTING: {name} | {what}")
        else:
            self._logger.info(
                "%s", f"🔄 EXECUTING QUEUED: {name} | Queued at: {run.queued_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
            )

    def _says(self, run: Run, word: object) -> None:
        name = run.trigger.deployment_name
        match word:
            case Queued(None):
                self._logger.info("%s", f"⏳ QUEUED: {name} | Will run after current execution")
            case Queued():
                self._logger.info("%s", f"⏳ QUEUED: {name} | Will run when {run.device} is free")
            case Skipped(_, message):
                self._logger.warning("%s", f"⏭️  SKIPPED: {name} | {message}")
            case Cancelled():
                self._logger.warning("%s", f"⏭️  SKIPPED: {name} | It was cancelled")
            case Finished(outcome):
                self._ends(run, outcome.status, outcome.duration_seconds, outcome.success, outcome.message)
            case _:
                pass

    def _ends(
        self, run: Run, status: ExecutionStatus, seconds: float | None, success: bool | None, message: str | None
    ) -> None:
        name = run.trigger.deployment_name
        if seconds is None:
            self._logger.error("%s", f"💥 ERROR: {name} | {message}")
        good = status is ExecutionStatus.COMPLETED and success is not False
        count = self._count(run.trigger)
        result = f"Duration: {seconds or 0.0:.1f}s | Success: {good} | Executions: {count}"
        self._logger.info("%s", f"{'✅' if good else '❌'} COMPLETED: {name} | {result}")

    def _count(self, trigger: Trigger) -> str:
        # A run that waited carries the count of the time when it was fired; this host has counted on since.
        count = max(self._counts.get(trigger.deployment_id, 0), trigger.execution_count) + 1
        self._counts[trigger.deployment_id] = count
        return f"{count}/{trigger.max_executions or '∞'}"


class _Line(logging.Formatter):
    """`2025-10-16 14:00:00 [WARN] …`, in UTC."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        level = "WARN" if record.levelno == logging.WARNING else record.levelname
        return f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} [{level}] {record.getMessage()}"


class _File(RotatingFileHandler):
    """Writes to a file of our own only: in a folder that all may write to, such as /tmp, another's link could lead it
    into any file. Raises `OSError` otherwise.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o644)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_nlink != 1:
            os.close(descriptor)
            raise PermissionError(f"{self.baseFilename} is not a file of this user's own")
        return os.fdopen(descriptor, "a", encoding=self.encoding)


def _open(path: Path, state_dir: Path) -> RotatingFileHandler:
    try:
        handler = _File(path)
    except OSError as error:
        instead = state_dir / "deployments.log"
        log.warning("the deployments log cannot be opened", path=str(path), error=str(error), instead=str(instead))
        handler = _File(instead)
    handler.setFormatter(_Line())
    return handler


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
