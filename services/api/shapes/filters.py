"""What lists can be narrowed to; an unknown filter is refused."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from libs.contracts import DeploymentStatus, ExecutionStatus, Reason
from services.api.shapes.base import Body, Label, When

MOST_ON_A_PAGE = 500


class Paged(Body):
    """What every list takes."""

    limit: Annotated[int, Field(ge=1, le=MOST_ON_A_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=1000)] | None = None

    def said(self) -> str:
        """The filters as a text: equal filters, equal text."""
        return self.model_dump_json(exclude={"limit", "cursor"})


class DeploymentFilters(Paged):
    """`q` is looked for in name, script, parameters and interface, without regard to case."""

    status: list[DeploymentStatus] | None = None
    host_name: Label | None = None
    device_id: Label | None = None
    script_name: Label | None = None
    q: Label | None = None
    deleted: bool = False


class HistoryFilters(Paged):
    """Of one deployment's executions; `from` (inclusive) and `to` (exclusive) are about the nominal time."""

    status: list[ExecutionStatus] | None = None
    reason: list[Reason] | None = None
    from_: When | None = Field(default=None, alias="from")
    to: When | None = None


class ExecutionFilters(HistoryFilters):
    """Of all executions of the team."""

    deployment_id: UUID | None = None
    host_name: Label | None = None
    device_id: Label | None = None


class HostFilters(Paged):
    """Hosts have no filters yet."""


class ScriptFilters(Paged):
    """Scripts of one host, or of all."""

    host_name: Label | None = None
