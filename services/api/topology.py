"""What the broker must have before anything flows: declared at the start, whenever the broker came back, and again and
again meanwhile, because a person or a script may have deleted a queue that nobody else would make anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import closing, connect, forever
from libs.chassis.amqp.declare import declare, delete
from libs.chassis.errors import Refused, Transient
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import topology
from libs.ledger import pool
from services.api.statements import SQL

log = get_logger(__name__)


class _DatabaseAway(Transient):
    """Not the broker's fault."""


class Declaration(Part):
    """Declares the central topology and the queues of all hosts, then calls `on_declared`."""

    name = "topology"

    def __init__(
        self, amqp_url: str, database_url: str, on_declared: Callable[[], None], *, every_seconds: float
    ) -> None:
        super().__init__()
        self._every_seconds = every_seconds
        self._amqp_url = amqp_url
        self._database_url = database_url
        self._on_declared = on_declared
        self.declared = asyncio.Event()

    async def run(self) -> None:
        """Declare on every new connection, and every so often; what was lost or deleted is made anew."""
        await forever(self._amqp_url, "api-topology", self._keep_declared, self.stopping)

    async def _keep_declared(self, connection: AbstractConnection) -> None:
        await self._declare(connection)
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), self._every_seconds)
                return
            # What flows goes on flowing; only what somebody deletes meanwhile stays away.
            try:
                await self._declare(connection)
            except (Refused, _DatabaseAway) as error:
                log.warning("The broker's queues were not looked at", reason=str(error))

    async def _declare(self, connection: AbstractConnection) -> None:
        await _make(connection, topology.central())
        try:
            ledger = await pool.connect(self._database_url, application="rigbeat-api-topology")
            try:
                # First: a look that began before the host was revoked may have made its queues anew since.
                await _drop_revoked(connection, ledger)
                hosts = [record["name"] for record in await ledger.fetch(SQL.enrolled_hosts)]
            finally:
                await ledger.close(timeout=2)
        except pool.DATABASE_AWAY as error:
            raise _DatabaseAway(f"the database is away: {error}") from error
        for host in hosts:
            try:
                await _make(connection, topology.of_host(host))
            except Refused as error:
                if not self.declared.is_set():
                    raise
                log.warning("A host's queues are not as they should be", host=host, reason=str(error))
        if not self.declared.is_set():
            log.info("The broker has all exchanges and queues", hosts=len(hosts))
        self.declared.set()
        self._on_declared()


async def declare_host(amqp_url: str, host: str) -> None:
    """The three queues of a new host. Raises `Transient` when the broker is away, `Refused` if it will not."""
    async with closing(await connect(amqp_url, name="api-enrolment")) as connection:
        await _make(connection, topology.of_host(host))


async def remove_host(amqp_url: str, host: str) -> None:
    """Delete the queues of a host and all that waits in them. Raises as `declare_host` does."""
    async with closing(await connect(amqp_url, name="api-revocation")) as connection:
        await _delete(connection, host)


async def _drop_revoked(connection: AbstractConnection, ledger: pool.Connection) -> None:
    for record in await ledger.fetch(SQL.queues_to_drop):
        await _delete(connection, record["name"])
        await ledger.execute(SQL.queues_dropped, record["name"])
        log.info("The queues of a revoked host are gone", host=record["name"])


async def _delete(connection: AbstractConnection, host: str) -> None:
    await delete(connection, [queue.name for queue in topology.of_host(host).queues])


async def _make(connection: AbstractConnection, wanted: topology.Topology) -> None:
    await declare(connection, wanted.exchanges, wanted.queues, wanted.bindings)
