"""Signing in, and who is signed in."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, StringConstraints, model_validator
from pydantic.config import JsonDict

from libs.contracts import Instant
from services.api.shapes.base import Body, Label, Shape, refusal

_SESSION: JsonDict = {
    "name": "ann's laptop",
    "role": "editor",
    "team_id": "0199f3a2-1c00-7000-8000-00000000000a",
    "team_name": "settop",
    "expires_at": "2026-11-30T10:20:05Z",
    "idle_seconds": 28_800,
    "csrf_token": "p2l0cXZ5bGJ1dHNvbWV0aGluZ2VsLWVsc2VhbHRvZ2U",
}

Secret = Annotated[str, StringConstraints(min_length=1, max_length=16_384)]


class SignInWith(Body):
    """A token, or a login link's code. A token of the issuer may need a `team`: of a person who has several."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "rb_9f3a21c0_…"}]})

    token: Secret | None = None
    code: Secret | None = None
    team: Label | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> SignInWith:
        if (self.token is None) == (self.code is None):
            raise refusal("Exactly one of token and code signs in", "Give one of the two.")
        if self.code is not None and self.team is not None:
            raise refusal("A login link is of one team already", "Leave team out.")
        return self


class Session(Shape):
    """Who asks, and for how long. `csrf_token`: what changes must bring in `X-CSRF-Token`; null for who has no cookie.

    `idle_seconds`: a session that is not used for so long ends sooner; null as well.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_SESSION]})

    name: str
    role: Literal["viewer", "editor", "admin", "operator"]
    team_id: UUID | None
    team_name: str | None
    expires_at: Instant | None
    idle_seconds: float | None
    csrf_token: str | None


class LoginLink(Shape):
    """A link that signs a browser in, once; it is in this answer and nowhere else."""

    url: str
    expires_at: Instant
