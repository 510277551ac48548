"""Teams."""

from __future__ import annotations

from uuid import UUID

from pydantic import ConfigDict

from libs.contracts import Instant
from services.api.shapes.base import Body, Label, Shape
from services.api.shapes.filters import Paged


class Team(Shape):
    """Whose deployments, executions and tokens are apart from all others. `own`: the one of the token that asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0199f3a2-1c00-7000-8000-00000000000a",
                    "name": "settop",
                    "created_at": "2026-11-01T08:00:00Z",
                    "own": True,
                }
            ]
        }
    )

    id: UUID
    name: str
    created_at: Instant
    own: bool


class NewTeam(Body):
    """A team to make."""

    name: Label


class TeamFilters(Paged):
    """Teams have no filters."""
