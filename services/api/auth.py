"""Who asks, as the routes want to know it; what else they may ask for, follows from the role.

How a request's credentials are looked at: services/api/authenticator.py.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from libs.ledger.pool import Connection
from services.api import cookies
from services.api.authenticator import Authenticator, Credentials, Ticket
from services.api.caller import Caller, Role
from services.api.people import TEAM_HEADER
from services.api.problems import ProblemError, unauthenticated
from services.api.shapes.problem import Kind
from services.api.statements import SQL

__all__ = [
    "Admin",
    "Authenticator",
    "Caller",
    "Credentials",
    "Editor",
    "Given",
    "HostCaller",
    "Operator",
    "Role",
    "Ticket",
    "Token",
    "Viewer",
]

F = TypeVar("F", bound=Callable[..., Any])

_bearer = HTTPBearer(
    auto_error=False,
    description="A token: rb_<prefix>_<secret>, or one of the issuer that the settings name. A browser that is signed "
    "in (POST /session) has a cookie instead, and sends X-CSRF-Token with each change.",
)


async def speak_for(connection: Connection, caller: Caller) -> None:
    """Let row level security see the caller's team (an operator: all) until the transaction ends."""
    team = str(caller.team_id) if caller.team_id is not None else ""
    operator = "on" if caller.is_operator else ""
    await connection.execute(SQL.speak_for, team, operator, caller.address, caller.token_prefix)


async def speak_for_host(connection: Connection) -> None:
    """For a host: it serves all the teams that share it, so the *statement* must be bound to the host's name."""
    await connection.execute(SQL.speak_for_all)


async def speak_for_all(connection: Connection) -> None:
    """For what a change of a host means to all the teams that see it: the *statements* must be bound to that host."""
    await connection.execute(SQL.speak_for_all)


def address_of(request: Request) -> str:
    """Where the request came from; behind a proxy that is trusted, what the proxy says."""
    return request.client.host if request.client is not None else ""


async def _token(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    if credentials is None:
        raise unauthenticated("Send a token: Authorization: Bearer rb_…")
    return credentials.credentials


async def _given(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Credentials:
    if credentials is None and "authorization" in request.headers:
        # Not taken for a request without: the cookie that comes along may be somebody else's.
        raise unauthenticated("Send a token as Authorization: Bearer rb_…")
    return Credentials(
        address_of(request),
        credentials.credentials if credentials is not None else None,
        cookies.presented(request),
        request.headers.get(TEAM_HEADER) or None,
    )


async def _authenticated(request: Request, given: Annotated[Credentials, Depends(_given)]) -> Caller:
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.caller(given)
    if given.bearer is None and given.cookie is not None:
        cookies.require_own_page(request, given.cookie)
    return caller


_NEEDED: dict[object, Role] = {}


def needed_by(dependencies: Iterable[object]) -> Role | None:
    """The role that a route with these dependencies (functions) asks for; None: it asks for no token."""
    asked = [_NEEDED[each] for each in dependencies if each in _NEEDED]
    return asked[0] if asked else None


def asks_for(role: Role) -> Callable[[F], F]:
    """Mark a dependency of a route that lets in only who has this role, in a way of its own."""

    def mark(dependency: F) -> F:
        _NEEDED[dependency] = role
        return dependency

    return mark


def _at_least(role: Role) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    async def check(caller: Annotated[Caller, Depends(_authenticated)]) -> Caller:
        if not caller.may(role):
            raise ProblemError(Kind.FORBIDDEN, f"This needs the role {role}; the token has the role {caller.role}")
        return caller

    return asks_for(role)(check)


@asks_for(Role.HOST)
async def _host(caller: Annotated[Caller, Depends(_authenticated)]) -> Caller:
    if caller.role is not Role.HOST:
        raise ProblemError(Kind.FORBIDDEN, f"Only a host may do this; the token has the role {caller.role}")
    return caller


Token = Annotated[str, Depends(_token)]
Given = Annotated[Credentials, Depends(_given)]
Viewer = Annotated[Caller, Depends(_at_least(Role.VIEWER))]
Editor = Annotated[Caller, Depends(_at_least(Role.EDITOR))]
Admin = Annotated[Caller, Depends(_at_least(Role.ADMIN))]
Operator = Annotated[Caller, Depends(_at_least(Role.OPERATOR))]
HostCaller = Annotated[Caller, Depends(_host)]
