"""The OpenAPI document: FastAPI's own, with the refusals that every route of a kind shares."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import FastAPI

from services.api.core import former_clients
from services.api.shapes import former
from services.api.shapes.problem import refusals

PROBLEMS = refusals(
    {
        401: "No valid token",
        403: "The token's role is not enough",
        404: "Not found",
        422: "The input is not right",
        429: "Too many tries without a valid token from this address",
        503: "Database or broker away",
    }
)
"""What every route may answer besides."""

_OF_CHANGES = refusals(
    {
        400: "Not JSON, or not to be understood",
        408: "The body came too slowly",
        409: "The resource is not in the state for it, or its limit is reached",
        412: "Somebody changed it since: the version in If-Match is stale",
        413: "Too large",
    }
)

FORMER_REFUSALS = former.refusals(
    {
        401: "No valid token",
        403: "The token's role is not enough, or it is of another team than team_id names",
        404: "Not found",
        422: "The input is not right",
        429: "Too many tries without a valid token",
        503: "Database away",
    }
)
"""What every route for clients of the former system may answer besides, in their envelope."""

_OF_FORMER_CHANGES = former.refusals(
    {
        400: "Not JSON, or not to be understood",
        408: "The body came too slowly",
        409: "The deployment is not in the state for it, or its limit is reached",
        413: "Too large",
    }
)


def complete(app: FastAPI) -> None:
    """Let every change in the document of `app` name what changes may be refused with."""
    plain = app.openapi

    @cache
    def document() -> dict[str, Any]:
        made = plain()
        for path, operations in made["paths"].items():
            refused = _OF_FORMER_CHANGES if former_clients.is_theirs(path) else _OF_CHANGES
            for method, operation in operations.items():
                if method != "get":
                    for status, refusal in refused.items():
                        operation["responses"].setdefault(str(status), refusal)
        return made

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend its document
