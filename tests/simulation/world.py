"""A whole Rigbeat in one process: a ledger, schedulers, a broker, the API's child, hosts, people; and its end."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from libs.contracts import OPEN
from libs.contracts.topology import commands_queue, triggers_queue
from tests.simulation.broker import DEAD, RESULTS, Broker
from tests.simulation.checks import Checks
from tests.simulation.host import Machine
from tests.simulation.ingest import Ingest
from tests.simulation.lab import a_deployment
from tests.simulation.ledger import Ledger
from tests.simulation.people import People
from tests.simulation.queues import Letter
from tests.simulation.reaping import Reaping
from tests.simulation.room import Room
from tests.simulation.rows import Deployment, HostRow
from tests.simulation.scheduler import Schedulers

SETTLE_SECONDS = 900.0
"""All is well again for so long before the last claim."""
DRAIN_HOURS = 48
"""After the last claim everything has ended within this; catch-up `all` may have held a hundred runs of an hour."""


class World:
    """Built, running, and nothing wrong yet: trouble is the room's, larger faults come from outside."""

    def __init__(self, room: Room, *, hosts: int, devices: int, deployments: int, schedulers: int = 2) -> None:
        self.room = room
        self.checks = Checks(room)
        self.lost_letters: list[Letter] = []
        """What wipes of the broker took."""
        self.broker = Broker(room, self.lost_letters.append)
        self.ledger = Ledger(room, self.checks)
        for name in (RESULTS, DEAD):
            self.broker.declare(name)
        self.ingest = Ingest(room, self.ledger, self.broker)
        self.schedulers = Schedulers(room, self.ledger, self.broker, schedulers)
        self.people = People(self.ledger)
        self.machines: dict[str, Machine] = {}
        for number in range(1, hosts + 1):
            self._enrol(f"host-{number}", devices)
        self.ledger.last_seen = lambda host: self.machines[host].last_seen()
        self.ledger.device = lambda host, device: self.machines[host].device(device)
        self.checks.is_unsettled = self.is_unsettled
        self._team = room.new_id()
        self._made = 0
        self.ingest.begin()
        for machine in self.machines.values():
            machine.start()
        for _ in range(deployments):
            self.create()
        self.schedulers.begin()
        self.broker_whole_since = room.now
        """Nothing of its data was lost since."""
        Reaping(self)
        room.agenda.after(86_400, self._keep_house)

    def _enrol(self, name: str, devices: int) -> None:
        self.broker.declare(triggers_queue(name))
        self.broker.declare(commands_queue(name))
        self.ledger.hosts[name] = HostRow(name)
        parallel = devices if self.room.dice.random() < 0.7 else max(1, devices - 1)
        self.machines[name] = Machine(self.room, self.checks, self.broker, self.ingest, name, devices, parallel)

    def is_unsettled(self, identity: UUID) -> bool:
        """Whether the ledger does not know for good what became of it, or a trigger of it may still come."""
        row, word = self.ledger.executions[identity].row, self.checks.words.get(identity)
        if row.presumed or row.status in OPEN or (word is not None and word != (row.status, row.outcome.reason)):
            return True
        parcel = self.ledger.outbox.get(identity)
        is_unsent = parcel is not None and parcel.published_at is None
        return is_unsent or self.broker.has_copy(triggers_queue(row.host_name), identity)

    def create(self) -> Deployment:
        """One more deployment, on a drawn device."""
        self._made += 1
        machine = self.room.dice.choice(list(self.machines.values()))
        device = self.room.dice.choice(machine.devices)
        return self.people.create(a_deployment(self.room, self._made, machine.name, device, self._team))

    def _keep_house(self) -> None:
        self.room.agenda.after(86_400, self._keep_house)
        self.schedulers.sweeps.keep_house()

    def wipe_broker(self, without_queues_for: float) -> None:
        """Its data is gone, and for so long its queues; everybody connects anew."""
        self.room.fault("broker wiped")
        self.broker_whole_since = self.room.now + timedelta(seconds=without_queues_for)
        self.broker.wipe(without_queues_for)
        self._reconnect(without_queues_for)

    def delete_queue(self, machine: Machine, name: str, seconds: float) -> None:
        """Somebody deletes a host's queue, and its runner ends (`basic.cancel`); the API declares it anew."""
        self.room.fault("queue deleted", f"{name} for {seconds:.1f} s")
        self.broker_whole_since = self.room.now + timedelta(seconds=seconds)
        self.broker.delete(self.broker.queues[name], seconds)
        machine.kill("without its queue", 1.0)

    def restart_broker(self, seconds: float) -> None:
        """Its data stays; everybody connects anew."""
        self.room.fault("broker restarted")
        self._reconnect(seconds)

    def _reconnect(self, seconds: float) -> None:
        self.unheard()
        self.ingest.end()
        self.room.agenda.after(seconds + 0.5, self.ingest._restart)
        for machine in self.machines.values():
            if machine.is_connected:
                machine.disconnect()
                machine.connect_later(seconds + self.room.dice.uniform(0, 5))

    def unheard(self) -> None:
        """Nobody listens to heartbeats from now on."""
        for machine in self.machines.values():
            machine.goes_unheard()

    def ingest_away(self, seconds: float) -> None:
        """For so long."""
        if self.ingest.up_since is not None:
            self.room.fault("ingest away", f"{seconds:.0f} s")
            self.unheard()
            self.ingest.end()
            self.room.agenda.after(seconds, self.ingest._restart)

    def schedulers_away(self, seconds: float) -> None:
        """All of them."""
        self.room.fault("schedulers away", f"{seconds:.0f} s")
        for number in list(self.schedulers.alive):
            self.schedulers.kill(number, seconds + self.room.dice.uniform(0, 3))

    def quiesce(self) -> None:
        """Nothing goes wrong any more; the last fires are decided, and everything comes to its end."""
        self.room.trouble.end()
        for machine in self.machines.values():
            machine.come_back()
            for device in machine.devices:
                self.people.unlock(machine.name, device)
        for deployment in self.ledger.deployments.values():
            self.people.resume(deployment)
        # Whoever is away for long is back: those restarts lie in the agenda.
        self.room.agenda.run_for(8 * 3600)
        self.room.agenda.run_for(SETTLE_SECONDS)
        self.schedulers.is_claiming = False
        for _ in range(DRAIN_HOURS * 4):
            self.room.agenda.run_for(900)
            if self.is_quiet():
                break
        self.room.agenda.run_for(900)

    def is_quiet(self) -> bool:
        """Whether everything has come to its end."""
        return not (
            self.ledger.open
            or self.ledger.unanswered
            or self.ledger.backlogs
            or any(self.ledger.unpublished.values())
            or any(machine.journal.count_unsent() for machine in self.machines.values())
            or any(queue.ready or queue.unacked for queue in self.broker.queues.values())
        )

    def story(self, about: UUID) -> list[str]:
        """What happened to an execution, or a deployment."""
        return self.room.history.story(about)
