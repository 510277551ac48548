"""The order to run a script once: scheduler to host."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from libs.contracts.message import HostName, Instant, Message, Name
from libs.contracts.statuses import Kind, OnDeviceBusy


class Trigger(Message):
    """One fire of one deployment. Published to `rigbeat.triggers` with the host's name as routing key.

    `not_after` is in database time; the message's time-to-live enforces it. The host compares its fences with
    `(ledger_epoch, version)`. `execution_count` and `max_executions` are those at the fire, for the host's log.
    """

    type: ClassVar[str] = "trigger.v1"

    execution_id: UUID
    deployment_id: UUID
    deployment_name: Name
    ledger_epoch: int = Field(ge=1)
    version: int = Field(ge=1)
    kind: Kind
    scheduled_at: Instant
    not_after: Instant
    host: HostName
    device_id: Name
    script_name: Name
    userinterface_name: str = ""
    parameters: str = ""
    timeout_seconds: float = Field(default=3600, gt=0)
    silence_timeout_seconds: float | None = Field(default=None, gt=0)
    on_device_busy: OnDeviceBusy = OnDeviceBusy.SKIP
    max_wait_seconds: float = Field(default=3600, ge=0)
    execution_count: int = Field(default=0, ge=0)
    max_executions: int | None = Field(default=None, ge=1)
