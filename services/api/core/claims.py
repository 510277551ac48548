"""What an issuer says of a person, and what follows from it: who it is, whether it is good now, which teams and roles.

The claims are those of a token whose signature, issuer and audience were found right.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_RANKS = {"viewer": 1, "editor": 2, "admin": 3, "operator": 4}
_LONGEST_SUBJECT = 255
_LONGEST_NAME = 128
_LAST_SECOND = 253_402_300_799  # of the year 9999

Word = Annotated[str, Field(min_length=1, max_length=1000)]


class ClaimRule(BaseModel):
    """Who has `value` in the claim has the role in the team; only an operator needs no team, and then serves them all.

    `claim`: a name as it stands, or a path with dots into objects (`realm_access.roles`). Its value is a text or a list
    of texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: Word
    value: Word
    role: Literal["viewer", "editor", "admin", "operator"]
    team: Word | None = None

    @model_validator(mode="after")
    def _has_a_team(self) -> ClaimRule:
        if self.team is None and self.role != "operator":
            raise ValueError(f"a {self.role} needs a team")
        return self


class ClaimError(Exception):
    """The claims are not good; the sentence is for people."""


class TeamError(Exception):
    """The person has no rights in the wanted team, or has to say which one is meant; a sentence for people."""

    def __init__(self, sentence: str, *, must_choose: bool = False) -> None:
        super().__init__(sentence)
        self.must_choose = must_choose


@dataclass(frozen=True, slots=True)
class Right:
    """A role in a team, by its name; None: in none, which only an operator has."""

    team: str | None
    role: str


def person(claims: Mapping[str, Any], issuer: str) -> str:
    """Who it is, for the audit: never the name alone, which people may choose. Raises `ClaimError`."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not _is_plain(subject):
        raise ClaimError("The token does not say whose it is (sub)")
    name = claims.get("preferred_username")
    if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and _is_plain(name) and name != subject:
        return f"{name} ({subject} at {issuer})"
    return f"{subject} at {issuer}"


def good_until(claims: Mapping[str, Any], now: datetime, skew: timedelta) -> datetime:
    """When the token expires, in UTC; the clocks of issuer and ledger may differ by `skew`.

    Raises `ClaimError`: it has expired, is not yet good, was issued in the future, or does not say.
    """
    expires = _instant(claims, "exp")
    if expires + skew <= now:
        raise ClaimError("The token has expired")
    if _instant(claims, "iat") - skew > now:
        raise ClaimError("The token was issued in the future: the clocks differ")
    if "nbf" in claims and _instant(claims, "nbf") - skew > now:
        raise ClaimError("The token is not good yet")
    return expires + skew


def rights(claims: Mapping[str, Any], rules: Sequence[ClaimRule]) -> dict[str | None, str]:
    """The most powerful role for each team."""
    found: dict[str | None, str] = {}
    for rule in rules:
        if rule.value in _texts(claims, rule.claim) and _RANKS[rule.role] > _RANKS.get(found.get(rule.team, ""), 0):
            found[rule.team] = rule.role
    return found


def right(granted: Mapping[str | None, str], wanted: str | None) -> Right:
    """The one to act with. Raises `TeamError`.

    Who serves all teams need not say which; whoever else has several must.
    """
    of_all = None in granted
    if wanted is not None:
        if of_all:
            return Right(wanted, granted[None])
        if wanted not in granted:
            raise TeamError(f"You have no role in a team {wanted}")
        return Right(wanted, granted[wanted])
    if of_all:
        return Right(None, granted[None])
    if not granted:
        raise TeamError("Nothing that the issuer says of you gives you a role here")
    if len(granted) > 1:
        names = ", ".join(sorted(filter(None, granted)))
        raise TeamError(f"You belong to several teams; say which is meant: {names}", must_choose=True)
    [(team, role)] = granted.items()
    return Right(team, role)


def _texts(claims: Mapping[str, Any], path: str) -> list[str]:
    value: Any = claims
    for name in [path] if path in claims else path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise ClaimError(f"The token has no right time in {name}")
    return datetime.fromtimestamp(value, UTC)


def _is_plain(text: str) -> bool:
    return text.isprintable() and not any(unicodedata.category(sign) == "Cf" for sign in text)
