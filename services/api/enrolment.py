"""Hosts: enrolled with a one-time secret, which their runner exchanges for a token and a broker's user of its own.

The secret may be exchanged again until what it gave was used once, so that an answer that was lost strands no host;
then it is spent. A host renews what it has with its token: the former stays good until the host says that it has the
new, however long that takes, so that no answer that was lost and no crash strands it.
"""

from __future__ import annotations

import asyncio
import os
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit
from uuid import UUID

from libs.contracts import manual_id, rfc3339
from libs.ledger import channels
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from libs.ledger.tokens import ENTROPY_BYTES, make, matches, prefix_of
from services.api.auth import Caller, Role, speak_for_host
from services.api.broker_users import BrokerUsers
from services.api.core.broker_access import SALT_BYTES, password_hash, user_of
from services.api.database import Database
from services.api.problems import ProblemError, not_found, unauthenticated, unavailable
from services.api.shapes.problem import Kind
from services.api.statements import SQL

SECRET_LASTS = timedelta(hours=24)
AT_ONCE = 2
"""So many exchanges at once in a process: they wait for the broker's management, with connections that others need."""
EXCHANGE_SECONDS = 12.0
"""For all of it: a runner waits for fifteen, and PostgreSQL as long for a transaction in which nothing happens."""

_PASSWORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class Issued:
    """What a host has now. `amqp_url` is None where the installation gives hosts no users of their own."""

    host_name: str
    token: str
    token_id: UUID
    amqp_url: str | None
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class Presented:
    """Who asks for credentials: a host with its token, or whoever holds the secret that it was enrolled with."""

    host_name: str
    secret: str | None = None
    token_id: UUID | None = None

    @property
    def by_secret(self) -> bool:
        """Whether it is the latter."""
        return self.secret is not None


class HostAccess:
    """Gives hosts what they need; `users` None: all of them share a user of the broker that is set up elsewhere."""

    def __init__(self, users: BrokerUsers | None, hosts_amqp_url: str) -> None:
        self._users = users
        self._amqp_url = hosts_amqp_url
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def users(self) -> BrokerUsers | None:
        """The broker's users of hosts."""
        return self._users

    async def exchange(self, database: Database, who: Presented) -> Issued:
        """New credentials, in the ledger and at the broker.

        By token, what the host had stays good until it takes them up; by secret it ends with this. Raises
        `unauthenticated` for a host that was revoked meanwhile, and for a secret that is no longer good; `wrong-state`
        when another exchange or a revocation overtook this one; what the broker raises.
        """
        async with self._turn():
            if self._users is not None:
                await self._users.require()  # nothing is written for a broker that is away
            async with database.connection() as connection, connection.transaction():
                await speak_for_host(connection)
                issued = await self.issue(connection, who)
            await self.let_in(database, issued, is_anew=who.by_secret)
        return issued

    async def taken_up(self, database: Database, host: str, token_id: UUID) -> None:
        """The host has what it was given with this token: whatever it had besides ends, connections too.

        Raises `wrong-state` when it was given others since: they may be all that it has.
        """
        async with self._turn():
            async with database.connection() as connection, connection.transaction():
                await speak_for_host(connection)
                await connection.execute(SQL.one_exchange_at_a_time, host)
                which = SQL.is_newest_host_token if self._users is None else SQL.host_holds
                if not await connection.fetchval(which, host, token_id):
                    sentence = "The host was given others since: take credentials again with this token"
                    raise ProblemError(Kind.WRONG_STATE, sentence)
                moment = await connection.fetchrow(STATEMENTS.ledger_now)
                assert moment is not None
                for ended in await connection.fetch(SQL.revoke_host_tokens, host, token_id, moment["now"]):
                    await connection.execute(STATEMENTS.notify, channels.REVOKED, str(ended["id"]))
            if self._users is not None:
                await self._users.close_connections(host)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS), self._turns:
                yield
        except TimeoutError as error:
            raise unavailable("It takes too long now, for the broker or for others who ask: try again") from error

    async def issue(self, connection: Connection, who: Presented) -> Issued:
        """New credentials, in the ledger. The transaction must see all teams; `let_in` follows its commit.

        Raises `unauthenticated` as `exchange` does.
        """
        # One after the other, and nobody else waits: the row of the host is the heartbeats' to lock.
        await connection.execute(SQL.one_exchange_at_a_time, who.host_name)
        if who.secret is not None and await presented(connection, who.host_name, who.secret) is None:
            raise unauthenticated("The secret is not known any more")
        host = await connection.fetchrow(SQL.host_for_credentials, who.host_name)
        if host is None or host["revoked_at"] is not None:
            raise unauthenticated("The host is revoked")
        # Again, under the lock: it may have been taken back while we waited.
        if who.token_id is not None and not await connection.fetchval(SQL.is_good_token, who.token_id):
            raise unauthenticated("The token is not good any more")
        moment = await connection.fetchrow(STATEMENTS.ledger_now)
        assert moment is not None
        now: datetime = moment["now"]
        token, token_id = make(os.urandom(ENTROPY_BYTES)), manual_id(now, os.urandom(10))
        actor = f"host {who.host_name}"
        await connection.execute(
            SQL.insert_host_token, token_id, host["team_id"], actor, who.host_name, token.prefix, token.hash, now, actor
        )
        if who.by_secret:  # the machine is another one, or was made anew: whatever had the former is out
            if (
                await connection.fetchval(SQL.enrolment_gave, who.host_name, token_id, prefix_of(who.secret or ""))
                is None
            ):
                raise unauthenticated("The secret is not known any more")
            for ended in await connection.fetch(SQL.revoke_host_tokens, who.host_name, token_id, now):
                await connection.execute(STATEMENTS.notify, channels.REVOKED, str(ended["id"]))
        amqp_url, hashed = None, None
        if self._users is not None:
            password = urlsafe_b64encode(os.urandom(_PASSWORD_BYTES)).decode().rstrip("=")
            hashed = password_hash(password, os.urandom(SALT_BYTES))
            user = user_of(who.host_name)
            await connection.execute(SQL.put_host_credentials, who.host_name, user, hashed, token_id, now)
            parts = urlsplit(self._amqp_url)
            amqp_url = f"{parts.scheme}://{quote(user)}:{password}@{parts.netloc.rpartition('@')[2]}{parts.path}"
        detail = {"by": "secret" if who.by_secret else "token", "token_prefix": token.prefix}
        await connection.execute(
            STATEMENTS.audit, now, host["team_id"], actor, "issue", f"host/{who.host_name}", detail
        )
        return Issued(who.host_name, token.token, token_id, amqp_url, hashed)

    async def let_in(self, database: Database, issued: Issued, *, is_anew: bool) -> None:
        """Let the broker know what was issued and committed; `is_anew`: whoever had the former is out.

        Who dies before it does no harm: the broker's users are looked at again and again. Raises `wrong-state` when the
        host was given others or was revoked meanwhile; what the broker raises.
        """
        if self._users is None or issued.password_hash is None:
            return
        async with database.connection() as connection, connection.transaction():
            await speak_for_host(connection)
            await connection.execute(SQL.one_exchange_at_a_time, issued.host_name)
            # Within the lock, so that no earlier exchange writes its password over a later one's.
            if await connection.fetchval(SQL.host_holds, issued.host_name, issued.token_id):
                await self._users.put(issued.host_name, issued.password_hash)
        async with database.connection() as connection, connection.transaction():
            await speak_for_host(connection)
            holds = await connection.fetchval(SQL.host_holds, issued.host_name, issued.token_id)
        if holds is None:  # revoked before our user was there, so whoever did that did not drop it
            await self._users.drop(issued.host_name)
        if not holds:
            raise ProblemError(Kind.WRONG_STATE, "The host was revoked, or came in another time, meanwhile")
        if is_anew:
            await self._users.close_connections(issued.host_name)


async def new_secret(connection: Connection, caller: Caller, host: str, now: datetime) -> str:
    """The one-time secret of a host of the caller's team; a former one is worth nothing any more."""
    made = make(os.urandom(ENTROPY_BYTES))
    await connection.execute(SQL.put_enrolment, host, made.prefix, made.hash, now, caller.name, now + SECRET_LASTS)
    return made.token


async def ask_to_renew(connection: Connection, caller: Caller, host: str) -> None:
    """Let the host take new credentials within a minute of its next heartbeat.

    Raises `wrong-state` for a host that has none of its own; `not-found`.
    """
    record = await connection.fetchrow(SQL.hosts_page, None, [host], 1)
    if record is None:
        raise not_found("host of this team")
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    if await connection.fetchval(SQL.ask_to_renew, host, now) is None:
        raise ProblemError(Kind.WRONG_STATE, f"{host} has no credentials of its own to renew: enrol it again")
    detail = {"changes": {"renew_requested_at": {"before": None, "after": rfc3339(now)}}}
    await connection.execute(STATEMENTS.audit, now, record["team_id"], caller.name, "renew", f"host/{host}", detail)


async def presented(connection: Connection, host: str, secret: str) -> Presented | None:
    """Whose secret this is; None when it is not one of this host. Raises `unauthenticated`: spent, expired, revoked."""
    prefix = prefix_of(secret)
    record = None if prefix is None else await connection.fetchrow(SQL.enrolment, prefix)
    if record is None or not matches(secret, record["hash"]) or record["host_name"] != host:
        return None
    if record["revoked"]:
        raise unauthenticated("The host is revoked")
    if record["spent"]:
        raise unauthenticated("The secret was used; enrol the host again for a new one")
    if record["expires_at"] <= record["checked_at"]:
        raise unauthenticated("The secret has expired; enrol the host again for a new one")
    return Presented(host, secret)


def is_host(caller: Caller, host: str) -> bool:
    """Whether the caller is this host itself."""
    return caller.role is Role.HOST and caller.host_name == host
