"""What a host says. Published to the topic `rigbeat.results` with the routing key `<host>.<event>`.

Times of a host (`at`, `started_at` …) are in the *host's* clock. `clock_offset_seconds` is what to add for database
time, as the host knew it then, or null when it did not know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Base64Bytes, Field

from libs.contracts.message import HostName, Instant, Message, Name
from libs.contracts.reasons import Reason
from libs.contracts.statuses import ExecutionStatus, Kind


class HostEvent(Message):
    """The base of what a host says."""

    event: ClassVar[str]
    """The second word of the routing key."""

    host: HostName
    journal_id: UUID
    runner_id: UUID


class ExecutionFact(HostEvent):
    """Something happened to an execution. `sequence` counts per journal; the same sequence is the same event."""

    execution_id: UUID
    deployment_id: UUID
    ledger_epoch: int = Field(ge=1)
    version: int = Field(ge=1)
    kind: Kind
    scheduled_at: Instant
    device_id: Name
    script_name: Name
    sequence: int = Field(ge=1)
    at: Instant
    clock_offset_seconds: float | None = None
    received_at: Instant | None = None


class ExecutionQueued(ExecutionFact):
    """The run waits in the deployment's one pending slot."""

    type: ClassVar[str] = "execution.queued.v1"
    event: ClassVar[str] = "queued"

    reason: Reason | None = None


class ExecutionSkipped(ExecutionFact):
    """The run will not start. Also the end of a queued one whose deployment was paused, stopped or deleted."""

    type: ClassVar[str] = "execution.skipped.v1"
    event: ClassVar[str] = "skipped"

    reason: Reason
    message: str
    queued_at: Instant | None = None


class ExecutionStarted(ExecutionFact):
    """The script's process exists."""

    type: ClassVar[str] = "execution.started.v1"
    event: ClassVar[str] = "started"

    queued_at: Instant | None = None
    admitted_at: Instant | None = None
    started_at: Instant


class ExecutionFinished(ExecutionFact):
    """The run is over; carries all that `started` did, so that it is enough alone.

    `started_at` is null when the script never started: then it was cancelled while queued, or could not be started.
    """

    type: ClassVar[str] = "execution.finished.v1"
    event: ClassVar[str] = "finished"

    queued_at: Instant | None = None
    admitted_at: Instant | None = None
    started_at: Instant | None
    completed_at: Instant
    status: Annotated[
        Literal[ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED],
        Field(description="how it ended"),
    ]
    reason: Reason | None = None
    message: str | None = None
    success: bool | None = None
    exit_code: int | None = None
    signal: str | None = None
    duration_seconds: float | None = Field(default=None, ge=0)
    script_result_id: UUID | None = None
    log_bytes: int = Field(default=0, ge=0)


class DeviceInfo(Message):
    """A device as the host's configuration names it."""

    type: ClassVar[str] = "device_info.v1"

    device_id: Name
    model: str = ""
    labels: dict[str, str] = Field(default_factory=dict)


class DeviceState(Message):
    """What a device does right now."""

    type: ClassVar[str] = "device_state.v1"

    device_id: Name
    status: Literal["free", "running", "waiting", "locked"]
    execution_id: UUID | None = None
    pending: tuple[UUID, ...] = ()


class ScriptParameter(Message):
    """One parameter of a script, for a form."""

    type: ClassVar[str] = "script_parameter.v1"

    name: str
    required: bool = False
    default: str | None = None
    help: str | None = None
    choices: tuple[str, ...] | None = None


class ScriptInfo(Message):
    """A script that the host can run."""

    type: ClassVar[str] = "script_info.v1"

    name: Name
    parameters: tuple[ScriptParameter, ...] = ()


class HostHello(HostEvent):
    """A runner is there; sent after each connection and when its scripts or devices change. Answered by `sync`."""

    type: ClassVar[str] = "host.hello.v1"
    event: ClassVar[str] = "hello"

    boot_id: str
    runner_version: str
    held: tuple[UUID, ...] = ()
    host_sent_at: Instant
    max_parallel: int = Field(ge=1)
    devices: tuple[DeviceInfo, ...] = ()
    scripts: tuple[ScriptInfo, ...] = ()


class HostHeartbeat(HostEvent):
    """The runner lives. Goes to `hosts.presence`, apart from the results."""

    type: ClassVar[str] = "host.heartbeat.v1"
    event: ClassVar[str] = "heartbeat"

    host_sent_at: Instant
    clock_offset_seconds: float | None = None
    wants_clock: bool = False
    devices: tuple[DeviceState, ...] = ()
    unsent_events: int = Field(default=0, ge=0)


class DeviceChanged(HostEvent):
    """A device's state changed."""

    type: ClassVar[str] = "device.changed.v1"
    event: ClassVar[str] = "device"

    sequence: int = Field(ge=1)
    at: Instant
    device: DeviceState


class CommandResult(StrEnum):
    """What a host did with a command."""

    APPLIED = "applied"
    STALE = "stale"
    HELD = "held"
    UNKNOWN = "unknown"


class CommandApplied(HostEvent):
    """A command was taken into account, durably. `stale`: it was not newer than what the host had."""

    type: ClassVar[str] = "command.applied.v1"
    event: ClassVar[str] = "applied"

    command_id: UUID
    command: str
    result: CommandResult
    sequence: int = Field(ge=1)
    at: Instant
    deployment_id: UUID | None = None
    execution_id: UUID | None = None
    version: int | None = None


class LogPiece(Message):
    """Some of the output of a run, while it runs: for whoever watches right now. Published to the topic `rigbeat.logs`
    with the key `<host>.<execution id>`, transient and without a confirm: the stored log is the one that is whole.

    `data` are the raw bytes from `offset` (in bytes from the beginning of the output) on; base64 in JSON.
    """

    type: ClassVar[str] = "log.piece.v1"

    host: HostName
    execution_id: UUID
    offset: int = Field(ge=0)
    data: Base64Bytes


AnyFact = ExecutionQueued | ExecutionSkipped | ExecutionStarted | ExecutionFinished
AnyEvent = AnyFact | HostHello | HostHeartbeat | DeviceChanged | CommandApplied
