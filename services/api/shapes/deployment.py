"""Deployments: as they are answered, made and edited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from libs.contracts import CatchUp, DeploymentStatus, Instant, OnDeviceBusy
from libs.schedule import describe
from services.api.shapes import examples
from services.api.shapes.base import (
    Body,
    Count,
    CronExpression,
    Label,
    Note,
    Parameters,
    ScriptName,
    Seconds,
    Shape,
    Timezone,
    When,
    WholeSeconds,
    Window,
    refusal,
)

MOST_TARGETS = 500


class Deployment(Shape):
    """A script on one device of one host, on a schedule. Times in UTC, durations in seconds."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DEPLOYMENT]})

    id: UUID
    name: str
    team_id: UUID
    host_name: str
    device_id: str
    script_name: str
    userinterface_name: str
    parameters: str | None
    cron_expression: str
    timezone: str
    description: str
    start_date: Instant | None
    end_date: Instant | None
    max_executions: int | None
    execution_count: int
    last_executed_at: Instant | None
    next_fire_at: Instant | None
    status: DeploymentStatus
    status_reason: str | None
    status_by: str | None
    host_acknowledged: bool | None
    catch_up: CatchUp
    catch_up_window_seconds: int
    on_device_busy: OnDeviceBusy
    max_wait_seconds: int
    timeout_seconds: float
    silence_timeout_seconds: float | None
    version: int
    created_at: Instant
    created_by: str | None
    updated_at: Instant
    deleted_at: Instant | None

    @classmethod
    def of(cls, record: Mapping[str, Any], *, host_acknowledged: bool | None = None) -> Deployment:
        """The shape of a row of `deployments`."""
        description = describe(record["cron_expression"], record["timezone"])
        return cls(**record, description=description, host_acknowledged=host_acknowledged)


class Target(Body):
    """One device that a deployment is made for."""

    host_name: Label
    device_id: Label
    userinterface_name: Note | None = None


class Writable(Body):
    """What may be written, at creation and by an edit, besides name and schedule."""

    parameters: Parameters | None = None
    userinterface_name: Note = ""
    timezone: Timezone = "UTC"
    start_date: When | None = None
    end_date: When | None = None
    max_executions: Count | None = None
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_seconds: Window = 600
    on_device_busy: OnDeviceBusy = OnDeviceBusy.SKIP
    max_wait_seconds: WholeSeconds = 3600
    timeout_seconds: Seconds = 3600
    silence_timeout_seconds: Seconds | None = None


class NewDeployment(Writable):
    """One deployment (`host_name` and `device_id`) or one for each of `targets`."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.NEW, examples.NEW_FOR_SEVERAL]})

    name: Label | None = Field(default=None, description="default: the script's stem and the time, HHMMSS in UTC")
    script_name: ScriptName
    cron_expression: CronExpression
    host_name: Label | None = None
    device_id: Label | None = None
    targets: Annotated[list[Target], Field(min_length=1, max_length=MOST_TARGETS)] | None = None

    @model_validator(mode="after")
    def _says_where(self) -> NewDeployment:
        if self.targets is not None and (self.host_name is not None or self.device_id is not None):
            raise refusal(
                "Both targets and a host or device are given", "Give host_name and device_id, or targets, not both."
            )
        if self.targets is None and (self.host_name is None or self.device_id is None):
            raise refusal("It is not said where it runs", "Give host_name and device_id, or targets.")
        return self

    def places(self) -> list[tuple[str, Target]]:
        """The targets, each with the JSON path before its fields (empty when there is only the one of the body)."""
        if self.targets is not None:
            return [(f"targets[{number}].", target) for number, target in enumerate(self.targets)]
        return [("", Target(host_name=self.host_name or "", device_id=self.device_id or ""))]


class DeploymentPatch(Writable):
    """An edit: what is missing stays, null goes back to the default. Host and device stay: copy instead."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PATCH]})

    name: Label = ""
    cron_expression: CronExpression = ""
    userinterface_name: Note | None = ""  # type: ignore[assignment]
    timezone: Timezone | None = "UTC"  # type: ignore[assignment]
    catch_up: CatchUp | None = CatchUp.LATEST  # type: ignore[assignment]
    catch_up_window_seconds: Window | None = 600  # type: ignore[assignment]
    on_device_busy: OnDeviceBusy | None = OnDeviceBusy.SKIP  # type: ignore[assignment]
    max_wait_seconds: WholeSeconds | None = 3600  # type: ignore[assignment]
    timeout_seconds: Seconds | None = 3600  # type: ignore[assignment]

    def given(self) -> dict[str, Any]:
        """What was written, null replaced by the default."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name: type(self).model_fields[name].default if value is None else value for name, value in values.items()
        }


class Because(Body):
    """Why somebody does it; kept and shown."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BECAUSE]})

    reason: Note | None = None
