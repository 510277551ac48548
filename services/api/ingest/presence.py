"""Who is there: heartbeats of hosts, apart from results, so that a busy ledger never makes hosts look dead.

A heartbeat is worth nothing after the next one, so an unreadable one is counted and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.consumer import consume_batches
from libs.chassis.amqp.declare import declare
from libs.chassis.amqp.message import Incoming
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import Clock, ContractError, HostHeartbeat, manual_id
from libs.contracts.topology import HOSTS_PRESENCE, central
from libs.ledger import decisions
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import CONTENDED, DATABASE_AWAY, Connection, Pool
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.ingest import devices, metrics
from services.api.ingest.executions import Changes
from services.api.ingest.reading import read_event
from services.api.ingest.statements import STATEMENTS

log = get_logger(__name__)

NAME = "rigbeat-ingest-presence"
OFFLINE_SECONDS = 30.0
"""As in `ledger.heard_since()`."""
PREFETCH = 500
MAX_WAIT_SECONDS = 0.05


class Presence(Part):
    """Consumes heartbeats."""

    name = "presence"

    def __init__(self, pool: Pool, url: str) -> None:
        super().__init__()
        self._pool = pool
        self._url = url
        self.ready = False

    async def run(self) -> None:
        """Consume until told to stop, over as many connections as it takes."""
        await forever(self._url, NAME, self._session, self.stopping)

    async def _session(self, connection: AbstractConnection) -> None:
        topology = central()
        await declare(connection, topology.exchanges, topology.queues, topology.bindings)
        up = metrics.CONSUMER_UP.labels(HOSTS_PRESENCE)
        self.ready = True
        up.set(1)
        try:
            await consume_batches(
                connection,
                HOSTS_PRESENCE,
                self._handle,
                prefetch=PREFETCH,
                max_batch=PREFETCH,
                max_wait_seconds=MAX_WAIT_SECONDS,
                transient=(*DATABASE_AWAY, *CONTENDED),
                stopping=self.stopping,
            )
        finally:
            self.ready = False
            up.set(0)

    async def _handle(self, batch: Sequence[Incoming]) -> None:
        latest: dict[str, HostHeartbeat] = {}
        for delivery in batch:
            try:
                event = read_event(delivery)
            except ContractError as error:
                log.warning("A heartbeat cannot be read", reason=str(error))
                metrics.IGNORED.labels("heartbeat").inc()
                continue
            if isinstance(event, HostHeartbeat):
                latest[event.host] = event
        if not latest:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            known = await take_in(connection, list(latest.values()))
        metrics.EVENTS.labels("heartbeat").inc(known)
        if known < len(latest):
            metrics.IGNORED.labels("heartbeat").inc(len(latest) - known)
            log.warning("Heartbeats of unknown or revoked hosts", hosts=len(latest) - known)


async def take_in(connection: Connection, heartbeats: Sequence[HostHeartbeat]) -> int:
    """Write who lives and what its devices do, and answer who asks for the time; how many hosts are known."""
    clock = await connection.fetchrow(LEDGER.ledger_now)
    assert clock is not None
    now: datetime = clock["now"]
    records = await connection.fetch(STATEMENTS.lock_hosts, [heartbeat.host for heartbeat in heartbeats])
    hosts = {record["name"]: record for record in records if record["revoked_at"] is None}
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
        Clock(command_id=command_id, host=beat.host, host_sent_at=beat.host_sent_at, db_time=now),
    )
