"""What was changed, by whom."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from libs.contracts import Instant
from services.api.shapes.base import Label, Shape, When
from services.api.shapes.filters import Paged

_CHANGE: JsonDict = {
    "id": 4711,
    "at": "2026-11-23T10:20:05Z",
    "team_id": "0199f3a2-1c00-7000-8000-00000000000a",
    "actor": "ann's laptop",
    "action": "edit",
    "resource": "deployment/0199f3a2-1c00-7000-8000-000000000001",
    "address": "10.0.4.17",
    "token_prefix": "9f3a21c0",
    "detail": {"version": 2, "changes": {"max_executions": {"before": None, "after": 20}}},
}


class AuditEntry(Shape):
    """One change. `actor` is the name of the token; `token_prefix` tells two of the same name apart.

    `address` is from where. `resource` is its kind and its name or id. `detail.changes`: each field before and after.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_CHANGE]})

    id: int
    at: Instant
    team_id: UUID | None
    actor: str
    action: str
    resource: str
    address: str | None
    token_prefix: str | None
    detail: dict[str, Any]


class AuditFilters(Paged):
    """`resource`: one, such as `host/lab-1`, or a kind, such as `host`; `from` inclusive, `to` exclusive."""

    actor: Label | None = None
    action: list[Label] | None = None
    resource: Label | None = None
    from_: When | None = Field(default=None, alias="from")
    to: When | None = None
