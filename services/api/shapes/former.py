"""What clients of the system before Rigbeat send to `/server/*`, and the envelopes that they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.contracts import Instant
from services.api.core import former_clients
from services.api.core.edit import Fault
from services.api.core.report import report_of
from services.api.shapes import examples
from services.api.shapes.base import CronExpression, Label, ScriptName, Shape
from services.api.shapes.deployment import Deployment, DeploymentPatch, NewDeployment, Writable
from services.api.shapes.execution import report_url

MOST_EXECUTIONS = 500

_EXECUTION_ID = "0199f3a2-1c00-8000-8000-000000000001"
_NEW: dict[str, Any] = {
    "name": "health.py_1760616000000",
    "host_name": "lab-1",
    "device_id": "stb-1",
    "script_name": "health.py",
    "userinterface_name": "demo",
    "parameters": "--limit 2",
    "cron_expression": "*/30 * * * *",
    "end_date": "2026-12-24T00:00:00.000Z",
    "max_executions": 20,
}
_EDIT: dict[str, Any] = {
    "cron_expression": "0 2 * * *",
    "start_date": None,
    "end_date": "2026-12-24T00:00:00.000Z",
    "max_executions": None,
}
_EXECUTION: dict[str, Any] = {
    "id": _EXECUTION_ID,
    "deployment_id": examples.DEPLOYMENT["id"],
    "script_result_id": None,
    "scheduled_at": "2026-11-23T10:20:00Z",
    "started_at": "2026-11-23T10:20:00.040000Z",
    "completed_at": "2026-11-23T10:20:05.250000Z",
    "status": "completed",
    "success": True,
    "skip_reason": None,
    "error_message": None,
    "deployments": {
        "name": "health-stb-1",
        "script_name": "health.py",
        "host_name": "lab-1",
        "device_id": "stb-1",
        "team_id": examples.DEPLOYMENT["team_id"],
    },
    "report_url": f"/api/v1/executions/{_EXECUTION_ID}/report",
}

TeamId = Annotated[
    str | None, Field(max_length=255, description="the token's own team; an operator's token may name any")
]
Status = Literal["running", "completed", "failed", "skipped", "queued"]


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class FormerBody(BaseModel):
    """Something that these clients send; fields that are not known are not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, body: Any) -> Any:
        return former_clients.as_meant(body) if isinstance(body, Mapping) else body


class FormerNew(Writable, FormerBody):
    """A deployment to make, on one device. A time without a zone is UTC; an empty text, null and 0 are as left out."""

    model_config = ConfigDict(extra="ignore") | _example(_NEW)

    name: Label | None = Field(default=None, description="default: the script's stem and the time, HHMMSS in UTC")
    host_name: Label
    device_id: Label
    script_name: ScriptName
    cron_expression: CronExpression
    team_id: TeamId = None

    @model_validator(mode="before")
    @classmethod
    def _as_left_out(cls, body: Any) -> Any:
        if not isinstance(body, Mapping):
            return body
        given = former_clients.without_nulls(former_clients.as_meant(body))
        return {field: value for field, value in given.items() if field != "name" or value != ""}

    def wanted(self) -> NewDeployment:
        """The same, as `/api/v1` takes it."""
        return NewDeployment(**self.model_dump(exclude_unset=True, exclude={"team_id"}))


class FormerEdit(DeploymentPatch, FormerBody):
    """What is to change; what is missing stays, null or an empty text clears. A whole deployment may be sent back."""

    model_config = ConfigDict(extra="ignore") | _example(_EDIT)

    host_name: str | None = Field(default=None, description="as it is: it cannot be edited")
    device_id: str | None = Field(default=None, description="as it is: it cannot be edited")
    script_name: str | None = Field(default=None, description="as it is: it cannot be edited")
    status: str | None = Field(default=None, description="as it is: pause and resume change it")
    team_id: TeamId = None

    def faults(self, record: Mapping[str, Any]) -> list[Fault]:
        """What it would change of this row that no edit changes."""
        return list(former_clients.faults_of_edit(self.model_dump(exclude_unset=True), record))

    def wanted(self) -> DeploymentPatch:
        """The rest, as `/api/v1` takes it."""
        return DeploymentPatch(**self.model_dump(exclude_unset=True, include=set(DeploymentPatch.model_fields)))


class OfDeployment(Shape):
    """The deployment of an execution."""

    name: str
    script_name: str
    host_name: str
    device_id: str
    team_id: UUID


class FormerExecution(Shape):
    """An execution with the columns of the former schema. Times in UTC.

    `queued` is also what is on its way to its host. `failed` is also what was cancelled; `error_message` says so.
    """

    model_config = _example(_EXECUTION)

    id: UUID
    deployment_id: UUID
    script_result_id: UUID | None
    scheduled_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    status: Status
    success: bool | None
    skip_reason: str | None
    error_message: str | None
    deployments: OfDeployment
    report_url: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> FormerExecution:
        """The shape of a row of `deployment_executions` with its deployment's name and its `files`."""
        has_report = report_of(file["name"] for file in record["files"] or ()) is not None
        return cls(
            **{**record, **former_clients.as_known(record)},
            deployments=OfDeployment(**record, name=record["deployment_name"]),
            report_url=report_url(record["id"]) if has_report else None,
        )


class Done(Shape):
    """It is done."""

    model_config = _example({"success": True})

    success: Literal[True] = True


class FormerDeployment(Done):
    """One deployment, with all that `/api/v1` tells of it."""

    model_config = _example({"success": True, "deployment": examples.DEPLOYMENT})

    deployment: Deployment


class FormerDeployments(Done):
    """All deployments of the team, newest first, without those that were deleted."""

    model_config = _example({"success": True, "deployments": [examples.DEPLOYMENT]})

    deployments: list[Deployment]


class FormerExecutions(Done):
    """The newest executions, the newest first."""

    model_config = _example({"success": True, "executions": [_EXECUTION]})

    executions: list[FormerExecution]


class FormerScripts(Done):
    """The names of all scripts that hosts of the team have, each once."""

    model_config = _example({"success": True, "scripts": ["health.py", "zap.py"]})

    scripts: list[str]


class Refused(Shape):
    """Every refusal: one text for a person; the status code is the problem's of `/api/v1`."""

    model_config = _example({"success": False, "error": "The deployment is paused already"})

    success: Literal[False] = False
    error: str


def refusals(described: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`, by status."""
    return {
        status: {"description": description, "content": {"application/json": {"schema": Refused.model_json_schema()}}}
        for status, description in described.items()
    }
