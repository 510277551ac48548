"""Who asks, once that is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a caller may do. Each of the first three may do all that the former may; a host may only upload."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OPERATOR = "operator"
    HOST = "host"


_RANKS = {Role.VIEWER: 1, Role.EDITOR: 2, Role.ADMIN: 3, Role.OPERATOR: 4}


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid token or session, and from where it came.

    An operator may have no team; a host has its name.

    `token_id` and `token_prefix` are of the API token that is behind it; a person whom the issuer vouches for has none
    (None and empty). `expires_at`: when the token or session ends by itself.
    """

    name: str
    role: Role
    team_id: UUID | None
    host_name: str | None
    token_id: UUID | None
    token_prefix: str
    address: str
    session_id: UUID | None = None
    expires_at: datetime | None = None

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

    @property
    def ends_with(self) -> tuple[UUID, ...]:
        """The token and the session whose end is heard of at once, and ends what this caller keeps open."""
        return tuple(each for each in (self.token_id, self.session_id) if each is not None)

    def is_same_as(self, other: Caller) -> bool:
        """Whether both are the same token's, or the same person's in the same team."""
        if self.token_id is not None or other.token_id is not None:
            return self.token_id == other.token_id
        return (self.name, self.role, self.team_id) == (other.name, other.role, other.team_id)
