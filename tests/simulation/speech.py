"""What a host says: hellos, and the journal's events in order, marked when they are confirmed (outbound.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.contracts import DeviceInfo, HostHello
from tests.simulation.broker import RESULTS, Broker, Receipt
from tests.simulation.queues import Letter

if TYPE_CHECKING:
    from tests.simulation.host import Machine

MOST_AT_ONCE = 500


class Speech:
    """Of one host, over the connection that it has."""

    def __init__(self, machine: Machine, broker: Broker) -> None:
        self._machine = machine
        self._broker = broker
        self._spoken_in: int | None = None
        """The connection over which a batch is under way."""

    def hello(self, session: int) -> None:
        """outbound.py: hellos: until one is confirmed."""
        machine = self._machine
        if session != machine.session or not machine.is_connected or machine.runner is None:
            return
        runner = machine.runner
        hello = HostHello(
            host=machine.name,
            journal_id=runner.identity.journal_id,
            runner_id=runner.identity.runner_id,
            boot_id="boot",
            runner_version="0",
            held=tuple(run.id for run in runner.host.held()),
            host_sent_at=machine.clock(),
            max_parallel=machine.max_parallel,
            devices=tuple(DeviceInfo(device_id=device) for device in machine.devices),
        )

        def heard(receipts: list[Receipt]) -> None:
            if receipts != [Receipt.CONFIRMED]:
                machine.room.agenda.after(1.0, self.hello, session)

        self._broker.publish([(self._broker.queues[RESULTS], Letter(hello))], heard)

    def say(self) -> None:
        """outbound.py: events."""
        machine = self._machine
        session, journal = machine.session, machine.journal
        if not machine.is_connected or self._spoken_in == session or machine.runner is None:
            return
        batch = journal.events_to_send(MOST_AT_ONCE)
        if not batch:
            return
        self._spoken_in = session

        def heard(receipts: list[Receipt]) -> None:
            if session != machine.session:
                return
            self._spoken_in = None
            taken = [n for (n, _), receipt in zip(batch, receipts, strict=True) if receipt is Receipt.CONFIRMED]
            journal.confirmed(taken, machine.clock())
            if len(taken) == len(batch):
                self.say()
            else:
                machine.room.agenda.after(1.0, self.say)

        results = self._broker.queues[RESULTS]
        self._broker.publish([(results, Letter(event)) for _, event in batch], heard)
