"""After a restore of the ledger: a new epoch, firing held, every host's events once more, then fire on.

Each step is one transaction and all that is known lies in the ledger, so the request is repeated until firing goes on,
by whomever: after a crash the next call goes on where the former one was. A host has answered when its answer to
`resend` was folded: it goes out behind the events themselves, so these are in the ledger before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from libs.contracts import Resend
from libs.ledger import channels
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS
from services.api.auth import Caller
from services.api.ingest.desired_state import desired_state
from services.api.statements import SQL

HEARD_SECONDS = 15.0
"""Within this a host that lives was heard again: heartbeats come every 10 s, and the restored ones are old."""

_NO_HELLO = datetime.fromtimestamp(0, UTC)
"""A sync that answers no hello says nothing about the host's clock: the round trip is too long to be believed."""


@dataclass(frozen=True, slots=True)
class HostState:
    """`answered`: everything that it had to say again is in the ledger."""

    name: str
    team_id: UUID
    online: bool
    answered: bool


@dataclass(frozen=True, slots=True)
class State:
    """How far a recovery is; `held_at` is None once it has ended."""

    ledger_epoch: int
    firing: bool
    held_at: datetime | None
    hosts: tuple[HostState, ...]


async def advance(connection: Connection, caller: Caller, *, wait_seconds: float, ledger_epoch: int | None) -> State:
    """Begin a recovery, or go on with the one that is under way; of one that has ended (`ledger_epoch`) only tell."""
    epoch = await connection.fetchrow(SQL.epoch)
    assert epoch is not None
    is_held = not epoch["firing"] and epoch["held_at"] is not None
    if not is_held and ledger_epoch == epoch["ledger_epoch"]:
        return State(epoch["ledger_epoch"], True, None, await _hosts(connection, epoch["ledger_epoch"]))
    if not is_held:
        await _begin(connection, caller)
        epoch = await connection.fetchrow(SQL.epoch)
        assert epoch is not None
    number, held_at = epoch["ledger_epoch"], epoch["held_at"]
    hosts = await _hosts(connection, number)
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    if not may_fire_on(hosts, held_for=now - held_at, wait_seconds=wait_seconds):
        return State(number, False, held_at, hosts)
    if await connection.fetchval(SQL.fire_on, number):
        told = {"answered": [host.name for host in hosts if host.answered]}
        told["silent"] = [host.name for host in hosts if not host.answered]
        await _note(connection, caller, now, "fire_on", number, told)
        await connection.execute(STATEMENTS.notify, channels.DUE, "")
    return State(number, True, None, hosts)


def may_fire_on(hosts: Sequence[HostState], *, held_for: timedelta, wait_seconds: float) -> bool:
    """Whether there is nobody left to wait for: all have answered, or all that are heard, or the time is over."""
    seconds = held_for.total_seconds()
    if seconds >= wait_seconds or all(host.answered for host in hosts):
        return True
    return seconds >= HEARD_SECONDS and all(host.answered for host in hosts if host.online)


async def _begin(connection: Connection, caller: Caller) -> None:
    held = await connection.fetchrow(SQL.hold_firing)
    if held is None:  # somebody else just did
        return
    number, now = held["new_epoch"], held["since"]
    hosts = await connection.fetch(SQL.recovering_hosts)
    parcels: list[Parcel] = []
    # Also for a host that is away: the commands wait in its queue, and it sends its events when it is back.
    for host in hosts:
        name, team = host["name"], host["team_id"]
        sync = await desired_state(
            connection, name, _command_id(number, name, "sync"), host_sent_at=_NO_HELLO, now=now, ledger_epoch=number
        )
        parcels += [Parcel(team, sync), Parcel(team, Resend(command_id=_command_id(number, name, "resend"), host=name))]
    await enclose(connection, parcels)
    await _note(connection, caller, now, "recover", number, {"hosts": [host["name"] for host in hosts]})


async def _hosts(connection: Connection, ledger_epoch: int) -> tuple[HostState, ...]:
    hosts = await connection.fetch(SQL.recovering_hosts)
    asked = {host["name"]: _command_id(ledger_epoch, host["name"], "resend") for host in hosts}
    found = await connection.fetch(SQL.answered_commands, list(asked.values()))
    answered = {record["message_id"] for record in found}
    return tuple(
        HostState(host["name"], host["team_id"], host["online"], asked[host["name"]] in answered) for host in hosts
    )


async def _note(
    connection: Connection, caller: Caller, now: datetime, action: str, number: int, told: dict[str, list[str]]
) -> None:
    resource = f"ledger/epoch/{number}"
    await connection.execute(STATEMENTS.audit, now, caller.team_id, caller.name, action, resource, told)
    await connection.execute(SQL.feed_reset, str(number))
    await connection.execute(STATEMENTS.notify, channels.CHANGES, "")


def _command_id(ledger_epoch: int, host: str, command: str) -> UUID:
    """The same whoever asks: an epoch is used once, so its commands are told apart from all others."""
    return uuid5(NAMESPACE_URL, f"rigbeat:recover/{ledger_epoch}/{host}/{command}")
