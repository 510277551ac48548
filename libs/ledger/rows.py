"""A deployment as its row says, and what of it the pure decision needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts import CatchUp, DeploymentStatus, Kind, OnDeviceBusy, Trigger
from libs.schedule.plan import Plan


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """The columns of `deployments` that firing and editing need. Times in UTC, durations in seconds."""

    id: UUID
    team_id: UUID
    name: str
    host_name: str
    device_id: str
    script_name: str
    userinterface_name: str
    parameters: str | None
    cron_expression: str
    timezone: str
    start_date: datetime | None
    end_date: datetime | None
    max_executions: int | None
    execution_count: int
    status: DeploymentStatus
    catch_up: CatchUp
    catch_up_window_seconds: int
    on_device_busy: OnDeviceBusy
    max_wait_seconds: int
    timeout_seconds: float
    silence_timeout_seconds: float | None
    version: int
    counted_from: datetime
    next_fire_at: datetime | None

    @classmethod
    def of(cls, record: asyncpg.Record | Mapping[str, Any]) -> DeploymentRow:
        """The row from a record that has (at least) all these columns."""
        values = {name: record[name] for name in cls.__slots__}
        values["status"] = DeploymentStatus(values["status"])
        values["catch_up"] = CatchUp(values["catch_up"])
        values["on_device_busy"] = OnDeviceBusy(values["on_device_busy"])
        return cls(**values)

    def plan(self) -> Plan:
        """What the decision looks at."""
        return Plan(
            deployment_id=self.id,
            status=self.status,
            version=self.version,
            cron_expression=self.cron_expression,
            timezone=self.timezone,
            start_date=self.start_date,
            end_date=self.end_date,
            max_executions=self.max_executions,
            execution_count=self.execution_count,
            counted_from=self.counted_from,
            next_fire_at=self.next_fire_at,
            catch_up=self.catch_up,
            catch_up_window_seconds=self.catch_up_window_seconds,
        )

    def trigger(
        self, execution_id: UUID, kind: Kind, scheduled_at: datetime, not_after: datetime, ledger_epoch: int
    ) -> Trigger:
        """The order to the host for one fire of this deployment."""
        return Trigger(
            execution_id=execution_id,
            deployment_id=self.id,
            deployment_name=self.name,
            ledger_epoch=ledger_epoch,
            version=self.version,
            kind=kind,
            scheduled_at=scheduled_at,
            not_after=not_after,
            host=self.host_name,
            device_id=self.device_id,
            script_name=self.script_name,
            userinterface_name=self.userinterface_name,
            parameters=self.parameters or "",
            timeout_seconds=self.timeout_seconds,
            silence_timeout_seconds=self.silence_timeout_seconds,
            on_device_busy=self.on_device_busy,
            max_wait_seconds=self.max_wait_seconds,
            execution_count=self.execution_count,
            max_executions=self.max_executions,
        )
