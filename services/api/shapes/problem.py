"""A refusal as other programs read it: `application/problem+json` (RFC 9457), its types from a closed list."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from services.api.shapes.base import Shape

MEDIA_TYPE = "application/problem+json"


class Kind(StrEnum):
    """The last part of a problem's `type`."""

    INVALID_INPUT = "invalid-input"
    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    WRONG_STATE = "wrong-state"
    LIMIT_REACHED = "limit-reached"
    STALE_VERSION = "stale-version"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many"
    UNAVAILABLE = "unavailable"


TITLES = {
    Kind.INVALID_INPUT: "The input is not right",
    Kind.MALFORMED: "The request cannot be read",
    Kind.UNAUTHENTICATED: "A valid token is needed",
    Kind.FORBIDDEN: "This token may not do that",
    Kind.NOT_FOUND: "There is no such thing",
    Kind.WRONG_STATE: "That cannot be done in the present state",
    Kind.LIMIT_REACHED: "The limit of executions is reached",
    Kind.STALE_VERSION: "Somebody else changed it meanwhile",
    Kind.TOO_LARGE: "The request is too large",
    Kind.TOO_MANY: "Too many requests",
    Kind.UNAVAILABLE: "It cannot be answered right now",
}

STATUSES = {
    Kind.INVALID_INPUT: 422,
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.WRONG_STATE: 409,
    Kind.LIMIT_REACHED: 409,
    Kind.STALE_VERSION: 412,
    Kind.TOO_LARGE: 413,
    Kind.TOO_MANY: 429,
    Kind.UNAVAILABLE: 503,
}


class FieldError(Shape):
    """One thing that is wrong: where (a JSON path; `$`: the whole), what, and what would be right."""

    field: str
    message: str
    hint: str | None = None


class Problem(Shape):
    """The body of every answer that is a refusal."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]


def refusals(described: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: what it may refuse besides what every route may, by status."""
    return {
        status: {"description": description, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
        for status, description in described.items()
    }


BINARY_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""For a route's `openapi_extra`: it takes bytes, of whatever type."""
