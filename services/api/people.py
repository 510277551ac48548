"""People whom an issuer (OpenID Connect) vouches for: their tokens to callers, by the rules of the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api.caller import Caller, Role
from services.api.core.claims import ClaimError, ClaimRule, TeamError, good_until, person, right, rights
from services.api.core.issuer_keys import TokenError, header_of
from services.api.issuer import IssuerKeys
from services.api.problems import ProblemError, invalid, unauthenticated
from services.api.shapes.problem import FieldError, Kind
from services.api.statements import SQL

TEAM_HEADER = "X-Rigbeat-Team"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken, for whom they must be meant, and what follows from their claims."""

    url: str
    audience: str
    jwks_url: str | None
    skew: timedelta
    rules: Sequence[ClaimRule]


class People:
    """Looks at the issuer's tokens; `clock` gives monotonic seconds."""

    def __init__(self, issuer: Issuer, clock: Callable[[], float], ca_file: str | None = None) -> None:
        """`ca_file`: who is trusted to be the issuer; the system's authorities unless given."""
        self._issuer = issuer
        self._keys = IssuerKeys(issuer.url, issuer.jwks_url, clock, ca_file)

    async def claims(self, token: str) -> dict[str, Any]:
        """What the issuer says, to us; the times of it are not looked at yet.

        Raises `unauthenticated`; `unavailable` while the issuer's keys were never seen.
        """
        try:
            header = header_of(token)
            key = await self._keys.key(header)
            if key is None:
                raise unauthenticated("The token is signed with a key that the issuer does not have")
            return key.claims(token, header.algorithm, self._issuer.url, self._issuer.audience)
        except TokenError as error:
            raise unauthenticated(str(error)) from None

    async def caller(self, connection: Connection, claims: dict[str, Any], team: str | None, address: str) -> Caller:
        """The person, in the team of this name, or in the only one.

        Raises `unauthenticated` for what has expired; `forbidden` without a role; `invalid-input` for who must choose.
        """
        moment = await connection.fetchrow(STATEMENTS.ledger_now)
        assert moment is not None
        now: datetime = moment["now"]
        try:
            until = good_until(claims, now, self._issuer.skew)
            name = person(claims, self._issuer.url)
        except ClaimError as error:
            raise unauthenticated(str(error)) from None
        granted = rights(claims, self._issuer.rules)
        ids = await _ids(connection, [*filter(None, granted), *([team] if team else [])])
        # A team that the settings name and nobody made is as if nobody were in it.
        there = {name: role for name, role in granted.items() if name is None or name in ids}
        try:
            chosen = right(there, team)
        except TeamError as error:
            if error.must_choose:
                raise invalid([FieldError(field=TEAM_HEADER, message=str(error), hint="Name one of them.")]) from None
            raise ProblemError(Kind.FORBIDDEN, str(error)) from None
        if chosen.team is not None and chosen.team not in ids:
            raise ProblemError(Kind.FORBIDDEN, f"There is no team {chosen.team}")
        team_id = None if chosen.team is None else ids[chosen.team]
        return Caller(name, Role(chosen.role), team_id, None, None, "", address, expires_at=until)


async def _ids(connection: Connection, names: Sequence[str]) -> dict[str, UUID]:
    if not names:
        return {}
    return {record["name"]: record["id"] for record in await connection.fetch(SQL.teams_named, list(names))}
