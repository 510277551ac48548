"""The OpenAPI document: FastAPI's own, with the refusals that every route of a kind shares."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import FastAPI

from services.api.shapes.problem import refusals

PROBLEMS = refusals(
    {
        401: "No valid token",
        403: "The token's role is not enough",
        404: "Not found",
        422: "The input is not right",
        503: "Database or broker away",
    }
)
"""What every route may answer besides."""

_OF_CHANGES = refusals(
    {
        400: "Not JSON, or not to be understood",
        409: "The resource is not in the state for it, or its limit is reached",
        412: "Somebody changed it since: the version in If-Match is stale",
        413: "Too large",
    }
)


def complete(app: FastAPI) -> None:
    """Let every change in the document of `app` name what changes may be refused with."""
    plain = app.openapi

    @cache
    def document() -> dict[str, Any]:
        made = plain()
        for operations in made["paths"].values():
            for method, operation in operations.items():
                if method != "get":
                    for status, refusal in _OF_CHANGES.items():
                        operation["responses"].setdefault(str(status), refusal)
        return made

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend its document
