"""Which role each route asks for: read from the application itself, so that the documentation cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from services.api.auth import Role, needed_by


@dataclass(frozen=True, order=True, slots=True)
class Access:
    """One route; `role` is the least that may, None where no token is asked for."""

    path: str
    method: str
    role: Role | None

    def may(self, role: Role) -> bool:
        """Whether a token with this role is let in; what it then sees is its team's."""
        if self.role is None:
            return True
        if Role.HOST in {self.role, role}:
            return self.role is role
        ranks = list(Role)
        return ranks.index(role) >= ranks.index(self.role)


def access(app: FastAPI) -> list[Access]:
    """All routes of the application, by path and method."""
    return sorted(_access(app), key=lambda one: (one.path, one.method))


def _access(app: FastAPI) -> Iterator[Access]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and context.path is not None:
            role = needed_by(_calls(route.dependant))
            for method in route.methods or ():
                yield Access(context.path, method, role)
        elif context.path != app.openapi_url:  # FastAPI's own. A mount or a socket nobody would walk.
            raise TypeError(f"{context.path} is a route of another kind")
    if app.openapi_url is not None:
        yield Access(app.openapi_url, "GET", None)


def _calls(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)
