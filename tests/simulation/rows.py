"""The rows of the ledger's tables, as far as the simulator has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.contracts import Command, ExecutionFact, Trigger
from libs.invariants.fires import Interval
from libs.ledger.rows import DeploymentRow
from libs.schedule.plan import Backlog
from services.api.core.projection import Row


@dataclass(slots=True)
class Execution:
    """A row of `deployment_executions`; facts move `row`."""

    row: Row
    version: int
    device_id: str
    timeout_seconds: float
    not_after: datetime | None = None
    held: bool = False
    published_at: datetime | None = None
    cancel_requested: bool = False
    by_host: bool = False
    said_nothing: dict[int, ExecutionFact] = field(default_factory=dict)
    """Facts, by their identity, that would not change this row."""

    @property
    def started(self) -> bool:
        """As far as the ledger knows."""
        return self.row.times.started_at is not None


@dataclass(slots=True)
class Deployment:
    """A row of `deployments` with its history (`deployment_versions`)."""

    row: DeploymentRow
    next_due_at: datetime | None
    updated_at: datetime
    deleted_at: datetime | None = None
    last_executed_at: datetime | None = None
    intervals: list[Interval] = field(default_factory=list)
    executions: dict[UUID, Execution] = field(default_factory=dict)
    under_way: dict[UUID, Execution] = field(default_factory=dict)
    """Open, or only presumed to have ended."""


@dataclass(slots=True, eq=False)
class Parcel:
    """A row of `outbox`."""

    message: Trigger | Command
    created_at: datetime
    published_at: datetime | None = None
    attempts: int = 0
    applied_at: datetime | None = None

    @property
    def id(self) -> UUID:
        """The message's id."""
        return self.message.execution_id if isinstance(self.message, Trigger) else self.message.command_id

    @property
    def not_after(self) -> datetime | None:
        """A trigger's."""
        return self.message.not_after if isinstance(self.message, Trigger) else None


@dataclass(slots=True)
class HostRow:
    """A row of `hosts`, and what the devices of it are to be: (version, owner, since, expiry) of each lock."""

    name: str
    journal_id: UUID | None = None
    locks: dict[str, tuple[int, str | None, datetime | None, datetime | None]] = field(default_factory=dict)


@dataclass(slots=True)
class Left:
    """A row of `backlogs`."""

    deployment: Deployment
    expression: str
    timezone: str
    window: int
    backlog: Backlog


@dataclass(slots=True)
class Changes:
    """As `services.api.ingest.executions.Changes`: what a transaction counts at its end."""

    newly_counted: Counter[UUID] = field(default_factory=Counter)
    last_executed_at: dict[UUID, datetime] = field(default_factory=dict)
