"""API tokens."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from libs.contracts import Instant
from services.api.shapes.base import Body, Label, Shape
from services.api.shapes.filters import Paged

LONGEST_SECONDS = 10 * 366 * 86_400

_TOKEN: JsonDict = {
    "id": "0199f3a2-1c00-7000-8000-0000000000f1",
    "name": "ann's laptop",
    "role": "editor",
    "team_id": "0199f3a2-1c00-7000-8000-00000000000a",
    "host_name": None,
    "prefix": "9f3a21c0",
    "created_at": "2026-11-23T10:20:05Z",
    "created_by": "operator of this machine",
    "expires_at": "2027-11-23T10:20:05Z",
    "revoked_at": None,
    "last_used_at": "2026-11-23T10:21:00Z",
}


class ApiToken(Shape):
    """A token without its secret. `last_used_at` is right to the minute."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TOKEN]})

    id: UUID
    name: str
    role: Literal["viewer", "editor", "admin", "operator", "host"]
    team_id: UUID | None
    host_name: str | None
    prefix: str
    created_at: Instant
    created_by: str | None
    expires_at: Instant | None
    revoked_at: Instant | None
    last_used_at: Instant | None


class NewToken(Body):
    """A token to make. `team_id`: for an operator, who may also make one for all teams (`operator`, without a team).

    A host's token is made when the host is enrolled.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ann's laptop", "role": "editor", "expires_in_seconds": 31_536_000}]}
    )

    name: Label
    role: Literal["viewer", "editor", "admin", "operator"]
    team_id: UUID | None = None
    expires_in_seconds: Annotated[int, Field(strict=True, ge=1, le=LONGEST_SECONDS)] | None = None


class MadeToken(Shape):
    """The new token and its secret, which is shown this once."""

    token: ApiToken
    secret: str


class TokenFilters(Paged):
    """`ended`: also those that were revoked or have expired."""

    role: list[Literal["viewer", "editor", "admin", "operator", "host"]] | None = None
    ended: bool = False
