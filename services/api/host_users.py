"""The broker has a user for each host that has credentials, and for none that was revoked: looked at again and again.

A broker that lost its data gets them again, with the same passwords; a host that was revoked while the broker was away
is shut out once it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from libs.chassis.errors import ChassisError
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger import pool
from services.api.broker_users import BrokerUsers
from services.api.statements import SQL

AGAIN_SECONDS = 2.0
"""Between two looks at the ledger: a revoked host is to be out within five seconds, also when the broker was away."""

log = get_logger(__name__)


class HostUsers(Part):
    """Makes the broker's users of hosts what the ledger says."""

    name = "host-users"

    def __init__(self, users: BrokerUsers, database_url: str, *, every_seconds: float) -> None:
        super().__init__()
        self._users = users
        self._database_url = database_url
        self._every_seconds = every_seconds
        self._known: dict[str, str | None] = {}

    async def run(self) -> None:
        """Ask the ledger every other second, the broker when that has changed or a look failed, and every so often."""
        due = 0.0
        while not self.stopping.is_set():
            try:
                wanted = await self._wanted()
                if wanted != self._known or time.monotonic() >= due:
                    due = time.monotonic() + self._every_seconds
                    await self._look(wanted)
            except (ChassisError, *pool.DATABASE_AWAY) as error:
                due = 0.0
                log.warning("The broker's users of hosts were not looked at", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), min(AGAIN_SECONDS, self._every_seconds))

    async def _wanted(self) -> dict[str, str | None]:
        ledger = await pool.connect(self._database_url, application="rigbeat-api-host-users")
        try:
            return {
                record["host_name"]: record["broker_password_hash"]
                for record in await ledger.fetch(SQL.all_host_credentials)
            }
        finally:
            await ledger.close(timeout=2)

    async def _look(self, wanted: dict[str, str | None]) -> None:
        there = await self._users.hosts()
        strangers = there - wanted.keys()
        if strangers:  # who was enrolled since we looked is none
            strangers -= (await self._wanted()).keys()
        for host in sorted(strangers):
            log.warning("A host that is not enrolled is shut out of the broker", host=host)
            await self._users.drop(host)
        for host, password in wanted.items():
            # Each once when we start, since somebody may have changed a permission meanwhile.
            if password is not None and (host not in there or self._known.get(host) != password):
                await self._users.put(host, password)
                now = await self._wanted()
                if host not in now:  # revoked meanwhile: whoever did it has dropped it before us
                    await self._users.drop(host)
                elif now[host] != password:
                    await self._users.put(host, now[host] or password)
        self._known = wanted
