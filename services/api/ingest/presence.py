"""Who is there: heartbeats of hosts, apart from results, so that a busy ledger never makes hosts look dead.

A heartbeat is worth nothing after the next one, so an unreadable one is counted and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime

import asyncpg

from libs.chassis.amqp.message import Incoming
from libs.chassis.logs import get_logger
from libs.contracts import Clock, ContractError, HostHeartbeat, manual_id
from libs.contracts.topology import HOSTS_PRESENCE
from libs.ledger import decisions
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Connection
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.core.broker_access import host_of
from services.api.ingest import devices, metrics
from services.api.ingest.executions import Changes
from services.api.ingest.reading import read_event
from services.api.ingest.session import QueueConsumer
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

OFFLINE_SECONDS = 30.0
"""As in `ledger.heard_since()`."""


class Presence(QueueConsumer):
    """Consumes heartbeats."""

    name = "presence"
    queue = HOSTS_PRESENCE
    prefetch = max_batch = 500
    max_wait_seconds = 0.05
    transient = (*DATABASE_AWAY, *CONTENDED)

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Write who lives; of a host's heartbeats only the latest counts."""
        latest: dict[str, HostHeartbeat] = {}
        vouched: set[str] = set()
        for delivery in batch:
            try:
                event = read_event(delivery)
            except ContractError as error:
                log.warning("A heartbeat cannot be read", reason=str(error))
                metrics.IGNORED.labels("heartbeat").inc()
                continue
            if isinstance(event, HostHeartbeat):
                # What the broker vouches for is not pushed aside by what anybody may have said.
                is_vouched = host_of(delivery.user) is not None
                if is_vouched or event.host not in vouched:
                    latest[event.host] = event
                if is_vouched:
                    vouched.add(event.host)
        if not latest:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            known = await take_in(connection, list(latest.values()), vouched)
        metrics.EVENTS.labels("heartbeat").inc(known)
        if known < len(latest):
            metrics.IGNORED.labels("heartbeat").inc(len(latest) - known)
            log.warning("Heartbeats of unknown or revoked hosts, or in a false name", hosts=len(latest) - known)


async def take_in(connection: Connection, heartbeats: Sequence[HostHeartbeat], vouched: Collection[str] = ()) -> int:
    """Write who lives and what its devices do, and answer who asks for the time; how many hosts are known.

    `vouched`: for these the broker stands. A host that has a user of its own is believed only then.
    """
    clock = await connection.fetchrow(LEDGER.ledger_now)
    assert clock is not None
    now: datetime = clock["now"]
    records = await connection.fetch(STATEMENTS.lock_hosts, [heartbeat.host for heartbeat in heartbeats])
    hosts = {
        record["name"]: record
        for record in records
        if record["revoked_at"] is None and (record["name"] in vouched or not record["has_user"])
    }
    beats = [heartbeat for heartbeat in heartbeats if heartbeat.host in hosts]
    await connection.execute(
        STATEMENTS.hosts_seen, [beat.host for beat in beats], [beat.clock_offset_seconds for beat in beats], now
    )
    changes = Changes()
    for record in hosts.values():
        if not record["is_online"]:
            log.info("A host is online", host=record["name"])
            note_host(changes, record)
    await devices.update(
        connection, {(beat.host, state.device_id): state for beat in beats for state in beat.devices}, changes
    )
    await enclose(
        connection, [_clock(hosts[beat.host], beat, now) for beat in beats if beat.wants_clock and _is_credible(beat)]
    )
    await decisions.note(connection, list(changes.feed))
    return len(beats)


def note_host(changes: Changes, host: asyncpg.Record) -> None:
    """A line of the feed for every team that sees the host."""
    for team in (host["team_id"], *host["shared_teams"]):
        changes.note(team, "host", host["name"])


def _is_credible(beat: HostHeartbeat) -> bool:
    """At the ends of the calendar a time cannot even be written in UTC."""
    return 1970 <= beat.host_sent_at.year < 9000


def _clock(host: asyncpg.Record, beat: HostHeartbeat, now: datetime) -> Parcel:
    command_id = manual_id(now, os.urandom(10))
    return Parcel(
        host["team_id"],
        Clock(
            command_id=command_id,
            host=beat.host,
            host_sent_at=beat.host_sent_at,
            db_time=now,
            renew_credentials=host["renew"],
        ),
    )
