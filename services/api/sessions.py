"""Sessions of browsers and the links that begin one: made, used once, ended."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from libs.contracts import manual_id, rfc3339
from libs.ledger import channels
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.ledger.tokens import SECRET_BYTES, digest
from services.api.authenticator import ANOTHER_LINK, Authenticator, Credentials
from services.api.caller import Caller, Role
from services.api.cookies import SessionRules
from services.api.database import Database
from services.api.problems import ProblemError, unauthenticated
from services.api.shapes.problem import Kind
from services.api.statements import SQL
from services.api.transactions import transaction

LINK_LASTS = timedelta(minutes=10)
_DROPPED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """A session just begun: `cookie` is given once and kept nowhere, `caller` is who has it."""

    cookie: str
    caller: Caller
    lasts: timedelta


class SignIn:
    """The ways in and out of a session."""

    def __init__(self, database: Database, authenticator: Authenticator, rules: SessionRules) -> None:
        self._database = database
        self._authenticator = authenticator
        self._rules = rules

    async def with_token(self, token: str, given: Credentials) -> Opened:
        """A session of the holder of a token. Raises `unauthenticated`, `forbidden` for a host, and what tokens may."""
        caller = await self._authenticator.caller(replace(given, bearer=token, cookie=None))
        if caller.role is Role.HOST:
            raise ProblemError(Kind.FORBIDDEN, "A host does not sign in: its token is for its runner alone")
        async with transaction(self._database, caller) as connection:
            opened = await self._open(connection, caller, "token" if caller.token_id else "issuer")
        await self._end_former(given)
        return opened

    async def with_link(self, code: str, given: Credentials) -> Opened:
        """A session of who asked for the link, which is spent with it. Raises `unauthenticated`, `too-many`."""
        link = await self._authenticator.link(code, given.address)
        async with transaction(self._database, link.caller) as connection:
            if await connection.fetchval(SQL.use_login_link, link.id, await _now(connection)) is None:
                raise unauthenticated(f"This login link was used already. {ANOTHER_LINK}")
            opened = await self._open(connection, link.caller, "link")
        await self._end_former(given)
        return opened

    async def _open(self, connection: Connection, caller: Caller, by: str) -> Opened:
        now = await _now(connection)
        expires = min(now + self._rules.lasts, caller.expires_at or datetime.max.replace(tzinfo=now.tzinfo))
        cookie, identity = _secret(), manual_id(now, os.urandom(10))
        await connection.execute(
            SQL.insert_session,
            identity,
            digest(cookie),
            caller.token_id,
            caller.team_id,
            caller.role,
            caller.name,
            now,
            expires,
        )
        detail = {"by": by, "expires_at": rfc3339(expires)}
        await connection.execute(
            STATEMENTS.audit, now, caller.team_id, caller.name, "sign in", f"session/{identity}", detail
        )
        await connection.execute(SQL.drop_old_sessions, _DROPPED_AT_ONCE)
        return Opened(cookie, replace(caller, session_id=identity, expires_at=expires), expires - now)

    async def _end_former(self, given: Credentials) -> None:
        """A browser has one session: who signs in again leaves none behind that nobody could sign out of."""
        former = await self._authenticator.signed_in(given)
        if former is not None:
            await self.out(former)

    async def out(self, caller: Caller) -> None:
        """End the caller's session: the next request with it is refused, the streams that it opened end.

        Raises `wrong-state` for who has none.
        """
        if caller.session_id is None:
            raise ProblemError(Kind.WRONG_STATE, "There is no session to end: you ask with a token")
        async with transaction(self._database, caller) as connection:
            now = await _now(connection)
            if await connection.fetchval(SQL.end_session, caller.session_id, now) is None:
                return
            await connection.execute(
                STATEMENTS.audit, now, caller.team_id, caller.name, "sign out", f"session/{caller.session_id}", {}
            )
            await connection.execute(STATEMENTS.notify, channels.REVOKED, str(caller.session_id))

    async def link(self, caller: Caller) -> tuple[str, datetime]:
        """The code of a new login link with the rights of the caller's own token, and when it expires.

        Raises `forbidden` for who has no API token at hand: a session that could make links would never have to end.
        """
        if caller.token_id is None or caller.session_id is not None:
            raise ProblemError(Kind.FORBIDDEN, "A login link is made with an API token, for that token")
        code = _secret()
        async with transaction(self._database, caller) as connection:
            now = await _now(connection)
            identity, expires = manual_id(now, os.urandom(10)), now + LINK_LASTS
            row = (identity, digest(code), caller.token_id, caller.team_id, caller.role, now, expires)
            await connection.execute(SQL.insert_login_link, *row)
            resource, detail = f"login-link/{identity}", {"expires_at": rfc3339(expires)}
            await connection.execute(STATEMENTS.audit, now, caller.team_id, caller.name, "create", resource, detail)
        return code, expires


def _secret() -> str:
    return urlsafe_b64encode(os.urandom(SECRET_BYTES)).decode().rstrip("=")


async def _now(connection: Connection) -> datetime:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    return now
