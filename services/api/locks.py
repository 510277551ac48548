"""Locks of devices: a person takes one, and nothing starts on it until it is given back or the lock expires.

The desired lock lies in the ledger and is enforced by the host, which is told in the same transaction; a host that is
away hears of it in its next `sync`. A run that is under way goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.contracts import Lock, Unlock, rfc3339
from libs.ledger.decisions import note
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api.auth import Caller, Role, speak_for_all
from services.api.problems import ProblemError, not_found
from services.api.shapes.problem import Kind
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


async def lock(
    connection: Connection, caller: Caller, place: Place, *, reason: str, seconds: int | None, command_id: UUID
) -> bool:
    """Take the device for the caller, or renew his lock; whether its host is there to answer the command.

    Raises `not-found`; `wrong-state` while another holds it, or if the host is revoked.
    """
    device = await _held(connection, place)
    now = await _now(connection)
    standing = _standing(device, now)
    if standing is not None and standing.owner != caller.name:
        raise ProblemError(Kind.WRONG_STATE, f"{place.device_id} is locked by {_in_words(standing)}")
    if device["is_revoked"]:
        raise ProblemError(Kind.WRONG_STATE, f"The host {place.host_name} is revoked; nothing runs on it")
    desired = Desired(
        owner=caller.name,
        reason=reason,
        since=now if standing is None else standing.since,
        expires_at=None if seconds is None else now + timedelta(seconds=seconds),
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
    if standing.owner != caller.name and not caller.may(Role.ADMIN):
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
    return Desired(device["lock_owner"], device["lock_reason"] or "", device["lock_since"], expires_at)


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
    await connection.execute(
        SQL.change_lock,
        place.host_name,
        place.device_id,
        command.lock_version,
        *(
            (None, None, None, None)
            if desired is None
            else (desired.owner, desired.reason, desired.since, desired.expires_at)
        ),
    )
    resource = f"{place.host_name}/{place.device_id}"
    detail = {} if desired is None else {"reason": desired.reason, "expires_at": _text(desired.expires_at)}
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


def _text(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
