"""What a request came with, to who asks.

Every token and every session is looked up for every request, with the functions that see all teams, and compared by
hash: what was taken back a moment ago is refused. A session made from a token is as good as the token, and no better.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.ledger.pool import DATABASE_AWAY, Connection
from libs.ledger.tokens import digest, matches, prefix_of
from services.api.caller import Caller, Role
from services.api.core.issuer_keys import looks_like_one
from services.api.database import Database
from services.api.failed_tries import FailedTries
from services.api.people import TEAM_HEADER, People
from services.api.problems import ProblemError, unauthenticated
from services.api.shapes.problem import Kind
from services.api.statements import SQL

ANOTHER_LINK = "The command rigbeat login-link makes another."


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, a session's cookie, or both; `team`: the name of the one that is meant, where somebody has several."""

    address: str
    bearer: str | None = None
    cookie: str | None = None
    team: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A login link that nobody used yet, and who signs in with it."""

    id: UUID
    caller: Caller


class Authenticator:
    """Credentials to callers. `idle`: a session that is not used for so long has ended."""

    def __init__(self, database: Database, failures: FailedTries, people: People | None, idle: timedelta) -> None:
        self._database = database
        self._failures = failures
        self._people = people
        self._idle = idle

    async def caller(self, given: Credentials, *, is_use: bool = True) -> Caller:
        """Who asks; `is_use`: somebody does something, so that a session goes on.

        Raises the problem `unauthenticated`, with why; `too-many` for an address that tried too often in vain; what a
        person of an issuer may be refused with (services/api/people.py); and what the database raises when away.
        """
        if given.bearer is None and given.cookie is None:
            raise unauthenticated("Send a token, Authorization: Bearer rb_…, or sign in")
        secret = given.bearer or given.cookie or ""
        async with self.counted(given.address, secret):
            # Before there is a connection: the issuer may take its time, and connections are few.
            claims = await self._vouched_for(given.bearer)
            async with self._database.connection() as connection:
                caller = await self._caller(connection, given, claims, is_use=is_use)
                await _require_team(connection, caller, given)
        self._failures.is_good(secret)
        return caller

    async def signed_in(self, given: Credentials) -> Caller | None:
        """Whose session the cookie is; None without a good one, which is no failed try here."""
        if given.cookie is None:
            return None
        async with self._database.connection() as connection:
            return await self._signed_in(connection, given)

    async def link(self, code: str, address: str) -> Link:
        """The login link with this code, which can still be used, and whose token is good.

        Raises `unauthenticated` with why it is not; `too-many`, as for tokens.
        """
        async with self.counted(address, code), self._database.connection() as connection:
            return await _link(connection, code, address)

    @asynccontextmanager
    async def counted(self, address: str, secret: str) -> AsyncIterator[None]:
        """Look up what lets somebody in: `unauthenticated` counts as a failed try. Raises `too-many` before."""
        await self._failures.check(address, secret)
        try:
            yield
        except ProblemError as problem:
            if problem.kind is Kind.UNAUTHENTICATED:
                await self._failures.note(address)
            raise

    async def _vouched_for(self, token: str | None) -> dict[str, Any] | None:
        """What the issuer says with this token; None for one of our own, or none."""
        if token is None or prefix_of(token) is not None:
            return None
        if self._people is None or not looks_like_one(token):
            raise unauthenticated("This is not a token of Rigbeat")
        return await self._people.claims(token)

    async def _caller(
        self, connection: Connection, given: Credentials, claims: dict[str, Any] | None, *, is_use: bool
    ) -> Caller:
        if given.bearer is None:
            return await self._of_session(connection, given, is_use=is_use)
        if claims is not None and self._people is not None:
            caller = await self._people.caller(connection, claims, given.team, given.address)
        else:
            caller = await self._of_token(connection, given.bearer, given.address)
        if given.cookie is not None:
            await self._require_same(connection, caller, given)
        return caller

    async def _of_token(self, connection: Connection, token: str, address: str) -> Caller:
        record = await connection.fetchrow(SQL.authenticate, prefix_of(token))
        if record is None or not matches(token, record["hash"]):
            raise unauthenticated("The token is not known")
        caller = of_token(record, address)
        if not record["used_lately"]:
            await connection.execute(SQL.note_token_use, caller.token_id)
        return caller

    async def _of_session(self, connection: Connection, given: Credentials, *, is_use: bool) -> Caller:
        record = await connection.fetchrow(SQL.session_holder, digest(given.cookie or ""))
        if record is None:
            raise unauthenticated("You are not signed in")
        caller = self._holder(record, given.address)
        if is_use and not record["used_lately"]:
            await connection.execute(SQL.note_session_use, caller.session_id)
        return caller

    def _holder(self, record: asyncpg.Record, address: str) -> Caller:
        at: datetime = record["checked_at"]
        if record["ended_at"] is not None and record["ended_at"] <= at:
            raise unauthenticated("You have signed out")
        if record["token_revoked_at"] is not None and record["token_revoked_at"] <= at:
            raise unauthenticated("The token that you signed in with was revoked")
        if record["expires_at"] <= at or record["last_used_at"] + self._idle <= at:
            raise unauthenticated("Your session has expired: sign in again")
        return Caller(
            record["name"],
            Role(record["role"]),
            record["team_id"],
            None,
            record["token_id"],
            record["token_prefix"] or "",
            address,
            record["id"],
            record["expires_at"],
        )

    async def _require_same(self, connection: Connection, caller: Caller, given: Credentials) -> None:
        """A browser that is signed in as somebody else must not be mistaken; a session that ended is nobody's."""
        signed_in = await self._signed_in(connection, given)
        if signed_in is not None and not signed_in.is_same_as(caller):
            raise unauthenticated("The token is not of whom this browser is signed in as: send one of the two")

    async def _signed_in(self, connection: Connection, given: Credentials) -> Caller | None:
        try:
            return await self._of_session(connection, given, is_use=False)
        except ProblemError:
            return None


async def _link(connection: Connection, code: str, address: str) -> Link:
    record = await connection.fetchrow(SQL.login_link, digest(code))
    if record is None:
        raise unauthenticated(f"This login link is not known. {ANOTHER_LINK}")
    if record["used_at"] is not None:
        raise unauthenticated(f"This login link was used already. {ANOTHER_LINK}")
    if record["expires_at"] <= record["checked_at"]:
        raise unauthenticated(f"This login link has expired. {ANOTHER_LINK}")
    token = await connection.fetchrow(SQL.authenticate, record["token_prefix"])
    assert token is not None
    return Link(record["id"], of_token(token, address))


class Ticket:
    """The right to an answer that stays open, which may end."""

    def __init__(self, authenticator: Authenticator, given: Credentials, caller: Caller) -> None:
        self._authenticator = authenticator
        self._given = given
        self.caller = caller

    async def is_valid(self) -> bool:
        """Whether the credentials still say the same; while the database is away, they do. To look is no use."""
        try:
            return await self._authenticator.caller(self._given, is_use=False) == self.caller
        except ProblemError as problem:
            return problem.kind not in {Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.INVALID_INPUT}
        except DATABASE_AWAY:
            return True


def of_token(record: asyncpg.Record, address: str) -> Caller:
    """The holder of an API token. Raises `unauthenticated` when it was revoked or has expired."""
    at: datetime = record["checked_at"]
    if record["revoked_at"] is not None and record["revoked_at"] <= at:
        raise unauthenticated("The token was revoked")
    if record["expires_at"] is not None and record["expires_at"] <= at:
        raise unauthenticated("The token has expired")
    return Caller(
        record["name"],
        Role(record["role"]),
        record["team_id"],
        record["host_name"],
        record["id"],
        record["prefix"],
        address,
        expires_at=record["expires_at"],
    )


async def _require_team(connection: Connection, caller: Caller, given: Credentials) -> None:
    """Who names a team means that one: a token of another is refused, not taken for it."""
    if given.team is None or caller.is_operator:
        return
    found = await connection.fetch(SQL.teams_named, [given.team])
    if caller.team_id not in [record["id"] for record in found]:
        raise ProblemError(Kind.FORBIDDEN, f"You are not asking for the team {given.team} ({TEAM_HEADER})")
