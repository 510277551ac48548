"""Locks of devices: a person takes one, and nothing starts on it until it is given back or the lock expires.

The desired lock lies in the ledger and is enforced by the host, which is told in the same transaction; a host that is
away hears of it in its next `sync`. A run that is under way goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts import Lock, Unlock, rfc3339
from libs.ledger.decisions import note
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api.auth import Caller, Role, speak_for_all
from services.api.problems import ProblemError, invalid, not_found
from services.api.shapes.host import LONGEST_LOCK_SECONDS, NewLock
from services.api.shapes.problem import FieldError, Kind
from services.api.statements import SQL


@dataclass(frozen=True, slots=True)
class Place:
    """A device of a host."""

    host_name: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What a device's lock is to be."""

    owner: str
    reason: str
    since: datetime
    expires_at: datetime | None
    team: UUID | None
    """Of the owner; None for an operator without a team, and for a lock of a former version."""


async def lock(connection: Connection, caller: Caller, place: Place, *, wanted: NewLock, command_id: UUID) -> bool:
    """Take the device for the caller, or renew his lock; whether its host is there to answer the command.

    Raises `not-found`; `wrong-state` while another holds it, or if the host is revoked; `invalid-input` for an end that
    has passed or is too far.
    """
    device = await _held(connection, place)
    now = await _now(connection)
    expires_at = _end(wanted, now)
    standing = _standing(device, now)
    if standing is not None and not _is_own(caller, standing):
        raise ProblemError(Kind.WRONG_STATE, f"{place.device_id} is locked by {_in_words(standing)}")
    if device["is_revoked"]:
        raise ProblemError(Kind.WRONG_STATE, f"The host {place.host_name} is revoked; nothing runs on it")
    desired = Desired(
        owner=caller.name,
        reason=wanted.reason,
        since=now if standing is None else standing.since,
        expires_at=expires_at,
        team=caller.team_id,
    )
    command = Lock(
        command_id=command_id,
        host=place.host_name,
        device_id=place.device_id,
        lock_version=device["lock_version"] + 1,
        owner=desired.owner,
        reason=desired.reason,
        since=desired.since,
        expires_at=desired.expires_at,
    )
    await _write(connection, caller, place, device, command, desired, now)
    return bool(device["is_online"])


async def unlock(connection: Connection, caller: Caller, place: Place, *, command_id: UUID) -> bool:
    """Give the device back; whether its host is there to answer. A device without a lock is left as it is.

    Raises `not-found`; `forbidden` for another's lock, unless the caller is an admin.
    """
    device = await _held(connection, place)
    now = await _now(connection)
    standing = _standing(device, now)
    if standing is None:
        return False
    if not _is_own(caller, standing) and not _may_take_away(caller, standing, device):
        raise ProblemError(
            Kind.FORBIDDEN,
            f"{place.device_id} is locked by {_in_words(standing)}; only {standing.owner} or an admin unlocks it",
        )
    command = Unlock(
        command_id=command_id,
        host=place.host_name,
        device_id=place.device_id,
        lock_version=device["lock_version"] + 1,
    )
    await _write(connection, caller, place, device, command, None, now)
    return bool(device["is_online"])


def _end(wanted: NewLock, now: datetime) -> datetime | None:
    if wanted.seconds is not None:
        return now + timedelta(seconds=wanted.seconds)
    if wanted.expires_at is None:
        return None
    longest = now + timedelta(seconds=LONGEST_LOCK_SECONDS)
    if wanted.expires_at <= now:
        raise invalid(
            [FieldError(field="expires_at", message="The end has already passed", hint="Choose a later one.")]
        )
    if wanted.expires_at > longest:
        message = f"A lock lasts at most {LONGEST_LOCK_SECONDS // 86_400} days"
        hint = f"Choose an end before {rfc3339(longest)}, or none."
        raise invalid([FieldError(field="expires_at", message=message, hint=hint)])
    return wanted.expires_at


async def _held(connection: Connection, place: Place) -> asyncpg.Record:
    device = await connection.fetchrow(SQL.device_locked, place.host_name, place.device_id)
    if device is None:
        raise not_found("device of a host of this team")
    return device


async def _now(connection: Connection) -> datetime:
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    return now


def _standing(device: asyncpg.Record, now: datetime) -> Desired | None:
    expires_at: datetime | None = device["lock_expires_at"]
    if device["lock_owner"] is None or (expires_at is not None and expires_at <= now):
        return None
    return Desired(
        device["lock_owner"], device["lock_reason"] or "", device["lock_since"], expires_at, device["lock_team"]
    )


def _is_own(caller: Caller, standing: Desired) -> bool:
    """A host may be shared: another team's token may have the same name."""
    return standing.owner == caller.name and standing.team in {None, caller.team_id}


def _may_take_away(caller: Caller, standing: Desired, device: asyncpg.Record) -> bool:
    """An operator, and an admin of the owner's team or of the team whose host it is."""
    if not caller.may(Role.ADMIN):
        return False
    return caller.is_operator or caller.team_id in {standing.team, device["team_id"]}


def _in_words(standing: Desired) -> str:
    until = "until it is unlocked" if standing.expires_at is None else f"until {rfc3339(standing.expires_at)}"
    return f"{standing.owner} {until}" + (f": {standing.reason}" if standing.reason else "")


async def _write(
    connection: Connection,
    caller: Caller,
    place: Place,
    device: asyncpg.Record,
    command: Lock | Unlock,
    desired: Desired | None,
    now: datetime,
) -> None:
    standing = _standing(device, now)
    await connection.execute(
        SQL.change_lock,
        place.host_name,
        place.device_id,
        command.lock_version,
        *(
            (None, None, None, None, None)
            if desired is None
            else (desired.owner, desired.reason, desired.since, desired.expires_at, desired.team)
        ),
    )
    resource = f"{place.host_name}/{place.device_id}"
    detail: dict[str, Any] = {"changes": {"lock": {"before": _as_json(standing), "after": _as_json(desired)}}}
    if desired is not None:
        detail |= {"reason": desired.reason, "expires_at": _text(desired.expires_at)}
    team = caller.team_id or device["team_id"]
    action = "unlock" if desired is None else "lock"
    await connection.execute(STATEMENTS.audit, now, team, caller.name, action, f"device/{resource}", detail)
    # Others may see the host too: their pages are told, and the command is the host's owner's.
    await speak_for_all(connection)
    await enclose(connection, [Parcel(device["team_id"], command)])
    await note_for_all(connection, "device", resource, (device["team_id"], *device["shared_teams"]))


async def note_for_all(connection: Connection, kind: str, resource: str, teams: Sequence[UUID]) -> None:
    """A line of the feed for each of the teams; the caller speaks for all of them."""
    await note(connection, [(team, kind, resource) for team in dict.fromkeys(teams)])


def _as_json(lock: Desired | None) -> dict[str, Any] | None:
    if lock is None:
        return None
    return {
        "owner": lock.owner,
        "reason": lock.reason,
        "since": rfc3339(lock.since),
        "expires_at": _text(lock.expires_at),
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
