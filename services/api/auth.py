"""Who asks: a token, its role and its team.

Every token is looked up by its prefix with the one function that sees all teams, and compared by hash. What was found
is kept for two seconds, so a revoked token is refused within that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from libs.ledger.pool import Connection
from libs.ledger.tokens import digest, matches, prefix_of
from services.api.database import Database
from services.api.problems import ProblemError
from services.api.shapes.problem import Kind
from services.api.statements import SQL

KEPT_SECONDS = 2.0
_MOST_KEPT = 1000

_bearer = HTTPBearer(auto_error=False, description="A token: rb_<prefix>_<secret>")


class Role(StrEnum):
    """What a token may do. Each of the first three may do all that the former may; a host may only upload."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OPERATOR = "operator"
    HOST = "host"


_RANKS = {Role.VIEWER: 1, Role.EDITOR: 2, Role.ADMIN: 3, Role.OPERATOR: 4}


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid token. An operator may have no team; a host has its name."""

    name: str
    role: Role
    team_id: UUID | None
    host_name: str | None

    @property
    def is_operator(self) -> bool:
        """Whether all teams are visible."""
        return self.role is Role.OPERATOR

    def may(self, role: Role) -> bool:
        """Whether it has at least this role, which is one for people."""
        return self.role is not Role.HOST and _RANKS[self.role] >= _RANKS[role]

    @property
    def only_team(self) -> UUID | None:
        """The team that lists are limited to; None for all."""
        return None if self.is_operator else self.team_id


class Authenticator:
    """Tokens to callers; `clock` gives seconds that only grow."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._kept: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, token: str) -> Caller:
        """Who holds `token`. Raises the problem `unauthenticated`, with why; and what the database raises when away."""
        key = digest(token)
        now = self._clock()
        kept = self._kept.get(key)
        if kept is not None and now - kept[0] < KEPT_SECONDS:
            return kept[1]
        prefix = prefix_of(token)
        if prefix is None:
            raise _unauthenticated("This is not a token of Rigbeat")
        async with self._database.connection() as connection:
            caller = _of_record(token, await connection.fetchrow(SQL.authenticate, prefix))
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = (now, caller)
        return caller


def _of_record(token: str, record: asyncpg.Record | None) -> Caller:
    if record is None or not matches(token, record["hash"]):
        raise _unauthenticated("The token is not known")
    at: datetime = record["checked_at"]
    if record["revoked_at"] is not None and record["revoked_at"] <= at:
        raise _unauthenticated("The token was revoked")
    if record["expires_at"] is not None and record["expires_at"] <= at:
        raise _unauthenticated("The token has expired")
    return Caller(record["name"], Role(record["role"]), record["team_id"], record["host_name"])


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(Kind.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})


async def speak_for(connection: Connection, caller: Caller) -> None:
    """Let row level security see the caller's team (an operator: all) until the transaction ends."""
    team = str(caller.team_id) if caller.team_id is not None else ""
    await connection.execute(SQL.speak_for, team, "on" if caller.is_operator else "")


async def speak_for_host(connection: Connection) -> None:
    """For a host: it serves all the teams that share it, so the *statement* must be bound to the host's name."""
    await connection.execute(SQL.speak_for, "", "on")


async def speak_for_all(connection: Connection) -> None:
    """For what a change of a host means to all the teams that see it: the *statements* must be bound to that host."""
    await connection.execute(SQL.speak_for, "", "on")


async def _token(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    if credentials is None:
        raise _unauthenticated("Send a token: Authorization: Bearer rb_…")
    return credentials.credentials


async def _authenticated(request: Request, token: Annotated[str, Depends(_token)]) -> Caller:
    authenticator: Authenticator = request.app.state.authenticator
    return await authenticator.caller(token)


def _at_least(role: Role) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    async def check(caller: Annotated[Caller, Depends(_authenticated)]) -> Caller:
        if not caller.may(role):
            raise ProblemError(Kind.FORBIDDEN, f"This needs the role {role}; the token has the role {caller.role}")
        return caller

    return check


async def _host(caller: Annotated[Caller, Depends(_authenticated)]) -> Caller:
    if caller.role is not Role.HOST:
        raise ProblemError(Kind.FORBIDDEN, f"Only a host may do this; the token has the role {caller.role}")
    return caller


Token = Annotated[str, Depends(_token)]
Viewer = Annotated[Caller, Depends(_at_least(Role.VIEWER))]
Editor = Annotated[Caller, Depends(_at_least(Role.EDITOR))]
Admin = Annotated[Caller, Depends(_at_least(Role.ADMIN))]
Operator = Annotated[Caller, Depends(_at_least(Role.OPERATOR))]
HostCaller = Annotated[Caller, Depends(_host)]
