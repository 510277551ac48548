"""What the centre tells a host besides triggers. Published to `rigbeat.commands` with the host's name as routing key.

Every command has an id; the host answers each with `command.applied`. A command may come twice, late or out of order:
the second time does nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from libs.contracts.message import HostName, Instant, Message, Name
from libs.contracts.reasons import Reason
from libs.contracts.statuses import DeploymentStatus


class Command(Message):
    """The base of all commands."""

    command_id: UUID
    host: HostName


class Fence(Command):
    """Refuse triggers of the deployment that are older than `(ledger_epoch, version)` and empty its pending slot.

    `reason` (paused, stopped, deleted, limit_reached) is what becomes of the run in the slot.
    """

    type: ClassVar[str] = "command.fence.v1"

    deployment_id: UUID
    deployment_name: str = ""
    ledger_epoch: int = Field(ge=1)
    version: int = Field(ge=1)
    reason: Reason


class Cancel(Command):
    """End one execution: drop it from the slot, or stop its process tree. Of an unknown id a tombstone stays."""

    type: ClassVar[str] = "command.cancel.v1"

    execution_id: UUID
    deployment_id: UUID


class Void(Command):
    """The centre presumes that this execution never reached the host. Answered `held` (the host's events decide) or
    `unknown` (a tombstone stays and the presumption becomes final).
    """

    type: ClassVar[str] = "command.void.v1"

    execution_id: UUID
    deployment_id: UUID


class Lock(Command):
    """A person takes a device. A run that is under way goes on."""

    type: ClassVar[str] = "command.lock.v1"

    device_id: Name
    lock_version: int = Field(ge=1)
    owner: str
    reason: str
    since: Instant
    expires_at: Instant | None = None


class Unlock(Command):
    """The person gives it back."""

    type: ClassVar[str] = "command.unlock.v1"

    device_id: Name
    lock_version: int = Field(ge=1)


class FenceState(Message):
    """The fence of one deployment, in a sync."""

    type: ClassVar[str] = "fence_state.v1"

    deployment_id: UUID
    ledger_epoch: int
    version: int
    reason: Reason


class LockState(Message):
    """The lock of one device, in a sync."""

    type: ClassVar[str] = "lock_state.v1"

    device_id: Name
    lock_version: int
    owner: str
    reason: str
    since: Instant
    expires_at: Instant | None = None


class DeploymentState(Message):
    """One deployment of the host, in a sync: what the start-up block of the deployments log needs."""

    type: ClassVar[str] = "deployment_state.v1"

    deployment_id: UUID
    name: str
    version: int
    status: DeploymentStatus
    cron_expression: str
    timezone: str
    last_executed_at: Instant | None
    next_fire_at: Instant | None
    execution_count: int
    max_executions: int | None


class Sync(Command):
    """The answer to `host.hello`: the desired state of the host, whole. Also carries the clock, as `Clock` does."""

    type: ClassVar[str] = "command.sync.v1"

    ledger_epoch: int = Field(ge=1)
    fences: tuple[FenceState, ...] = ()
    locks: tuple[LockState, ...] = ()
    deployments: tuple[DeploymentState, ...] = ()
    host_sent_at: Instant
    db_time: Instant


class Clock(Command):
    """The answer to a heartbeat, once a minute: the host's own time as it sent it, and the database's when it was read.

    offset = db_time - (host_sent_at + received) / 2, used if the round trip took under 2 s.
    """

    type: ClassVar[str] = "command.clock.v1"

    host_sent_at: Instant
    db_time: Instant
    renew_credentials: bool = False
    """The host is to take new credentials from the API now."""


class Resend(Command):
    """Send the kept events again, from `from_sequence` on (after a restore of the ledger)."""

    type: ClassVar[str] = "command.resend.v1"

    from_sequence: int = Field(default=0, ge=0)


class Change(StrEnum):
    """What a notice is about."""

    CREATED = "created"
    EDITED = "edited"
    STATUS = "status"
    """Paused, resumed, stopped, completed, expired."""
    DELETED = "deleted"
    SKIPPED = "skipped"
    """A fire that the centre did not send: its start date, end date or limit forbids it, or it was missed."""


class Notice(Command):
    """Something about a deployment of the host that its people read in the deployments log; nothing depends on it.

    Not journaled and, like `Clock`, not answered. `message` is the sentence behind the name, `by` who did it.
    """

    type: ClassVar[str] = "command.notice.v1"

    deployment_id: UUID
    deployment_name: str
    device_id: Name
    change: Change
    status: DeploymentStatus
    cron_expression: str
    timezone: str
    execution_count: int
    max_executions: int | None = None
    message: str = ""
    by: str | None = None


AnyCommand = Fence | Cancel | Void | Lock | Unlock | Sync | Clock | Resend | Notice
