"""What may take time, and how long, watched while things happen: rows that outlive their runs (I7), fires missed (I1).

Both only where host, API and schedulers were there, and the broker kept its data, for so long that they had no excuse.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from libs.contracts import ExecutionStatus
from services.api.core.projection import Row

if TYPE_CHECKING:
    from tests.simulation.world import World

LIMIT = timedelta(minutes=40)
"""What a host has ended, the ledger knows after this. A host may be asked again ten minutes after the last time, the
network may hold each of the steps for a minute, and a host's clock may be fifteen minutes ahead, so that for so long a
run seems to be too young to be asked about.
"""
MISSED_AFTER = timedelta(minutes=5)
"""A trigger of which nobody ever spoke is given up so long after its window (sweep.sql: presume_missed)."""
TIME_ENOUGH = timedelta(minutes=6)
"""A trigger that gets lost within its window is sent again so early that its host, when it is there, gets it."""
LOOK_SECONDS = 300.0


class Reaping:
    """Looks every few minutes, and at each trigger that is given up."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.checks.on_missed = self.missed
        world.room.agenda.after(LOOK_SECONDS, self._look)

    def _no_excuse_since(self) -> datetime | None:
        """Since when all but the hosts has been there; None when something is not."""
        world = self._world
        if world.ingest.up_since is None or not world.schedulers.alive:
            return None
        return max(world.ingest.there_since, world.schedulers.there_since, world.broker_whole_since)

    def _look(self) -> None:
        world, room = self._world, self._world.room
        room.agenda.after(LOOK_SECONDS, self._look)
        begin = self._no_excuse_since()
        if begin is None or room.now - begin < LIMIT:
            return
        for execution in world.ledger.open.values():
            identity, machine = execution.row.id, world.machines[execution.row.host_name]
            said_at, until = world.checks.said_at.get(identity), execution.not_after
            if said_at is None or not machine.is_connected or identity in world.checks.forgotten:
                continue
            if execution.row.status is ExecutionStatus.TRIGGERED and until is not None:
                said_at = max(said_at, until + MISSED_AFTER)
            if room.now - max(begin, said_at, machine.connected_at) > LIMIT:
                sentence = f"{identity} is still {execution.row.status}, which {machine.name} ended at {said_at}"
                raise world.checks.broken("I7", sentence, identity)

    def missed(self, row: Row) -> None:
        """The centre gives a trigger up: not one that its host would have taken, had it been sent again."""
        world = self._world
        machine, until = world.machines[row.host_name], world.ledger.executions[row.id].not_after
        begin = self._no_excuse_since()
        if begin is None or until is None or not machine.is_connected or machine.has_decided_about(row.id):
            return
        if max(begin, machine.connected_at, row.fire.decided_at) <= min(until, world.room.now) - TIME_ENOUGH:
            raise world.checks.broken("I1", f"{row.id} is missed, and nothing kept it from {machine.name}", row.id)
