"""The larger faults and the people, as they come: each kind at drawn times, from the seed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from libs.contracts.topology import commands_queue, triggers_queue
from tests.simulation.host import Machine
from tests.simulation.lab import CRONS
from tests.simulation.world import World

DECLARE_SECONDS = 60.0
"""How often the API declares what somebody may have deleted (`RIGBEAT_DECLARE_SECONDS`)."""
PEOPLE_HOURS = 0.4
"""Between two things that people do, on average."""


class Faults:
    """Visits a world until its trouble ends."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._room = world.room
        self._kinds: dict[str, Callable[[], None]] = {
            "broker wiped": lambda: self._when_fires_leave(world.wipe_broker, self._some(1, 60)),
            "results lost": self._lose_results,
            "queue deleted": lambda: self._when_fires_leave(self._delete_queue, self._some(0, DECLARE_SECONDS)),
            "broker restarted": lambda: world.restart_broker(self._some(1, 120)),
            "schedulers away": lambda: world.schedulers_away(self._some(60, 6 * 3600)),
            "ingest away": lambda: world.ingest_away(self._some(60, 4 * 3600)),
            "connection lost": lambda: self._machine().drop(self._some(0.1, 30)),
            "host away": lambda: self._machine().cut_off(self._some(60, 7 * 3600)),
            "host rebooted": lambda: self._machine().reboot(self._some(30, 3600)),
            "host with a new disk": lambda: self._machine().lose_disk(self._some(5, 3600)),
            "host's clock set": self._set_clock,
            "runner restarted": lambda: self._machine().kill("by somebody", self._some(0.1, 60)),
        }
        for kind in sorted(self._room.trouble.hours_between):
            self._later(kind)
        self._room.agenda.after(600, self._people)

    def _later(self, kind: str) -> None:
        hours = self._room.trouble.hours_between.get(kind)
        if hours is not None:
            self._room.agenda.after(self._room.dice.expovariate(1 / hours) * 3600, self._strike, kind)

    def _strike(self, kind: str) -> None:
        if kind in self._room.trouble.hours_between:
            self._room.history.struck[kind] += 1
            self._kinds[kind]()
            self._later(kind)

    def _some(self, least: float, most: float) -> float:
        """Short ones more often."""
        return least + (most - least) * self._room.dice.random() ** 3

    def _machine(self) -> Machine:
        return self._room.dice.choice(list(self._world.machines.values()))

    def _when_fires_leave(self, do: Callable[[float], None], seconds: float) -> None:
        """Often around the next full minute: then most is under way."""
        dice, agenda = self._room.dice, self._room.agenda
        to_the_minute = 60 - self._room.now.timestamp() % 60
        agenda.after(max(to_the_minute + dice.uniform(-3, 0.3), 0) if dice.random() < 0.7 else 0, do, seconds)

    def _lose_results(self) -> None:
        """What hosts say waits in the broker, for minutes, until the broker loses it."""
        minutes = self._some(2, 10)
        self._world.ingest_away(60 * minutes)
        self._room.agenda.after(60 * minutes - 1, self._world.wipe_broker, self._some(1, 60))

    def _delete_queue(self, seconds: float) -> None:
        machine = self._machine()
        name = self._room.dice.choice((commands_queue(machine.name), triggers_queue(machine.name)))
        self._world.delete_queue(machine, name, seconds)

    def _set_clock(self) -> None:
        machine, dice = self._machine(), self._room.dice
        seconds = dice.choice((0.0, dice.uniform(-120, 120), dice.uniform(-120, 120), 900.0, -900.0))
        self._room.fault("host's clock set", f"{machine.name} to {seconds:+.1f} s")
        machine.set_clock(timedelta(seconds=seconds))

    def _until_somebody_acts(self) -> float:
        """Often around a full minute, when fires are on their way."""
        seconds = self._room.dice.expovariate(1 / PEOPLE_HOURS) * 3600
        if self._room.dice.random() < 0.3:
            return seconds
        at = self._room.now.timestamp() + seconds
        return max(seconds + 60 - at % 60 + self._room.dice.uniform(-0.05, 0.3), 0.0)

    def _people(self) -> None:
        if not self._room.trouble.hours_between:
            return
        world, dice, people = self._world, self._room.dice, self._world.people
        if dice.random() < 0.5:
            self._somebody_ends_what_was_just_sent()
            self._room.agenda.after(self._until_somebody_acts(), self._people)
            return
        self._room.agenda.after(self._until_somebody_acts(), self._people)
        deployment = dice.choice([each for each in world.ledger.deployments.values() if each.deleted_at is None])
        machine = self._machine()
        match dice.randrange(14):
            case 0 | 1:
                people.pause(deployment)
                self._room.agenda.after(self._some(1, 8 * 3600), people.resume, deployment)
            case 2:
                people.patch(deployment, {"cron_expression": dice.choice(CRONS)})
            case 3 | 4:
                counts = deployment.row.execution_count
                people.patch(deployment, {"max_executions": dice.choice((None, counts + dice.randint(1, 40)))})
            case 5 | 6 | 7:
                people.run_now(deployment)
            case 8 | 9 | 10:
                if deployment.under_way:
                    people.cancel(dice.choice(list(deployment.under_way.values())))
            case 11 | 12:
                device = dice.choice(machine.devices)
                people.lock(machine.name, device, dice.choice((None, 60, 600, 7200)))
                self._room.agenda.after(self._some(1, 4 * 3600), people.unlock, machine.name, device)
            case _:
                if dice.random() < 0.5:
                    people.stop(deployment)
                people.delete(deployment)
                world.create()

    def _somebody_ends_what_was_just_sent(self) -> None:
        """A pause or a cancel races with its trigger."""
        people, sent = self._world.people, [each for each in self._world.ledger.open.values() if not each.started]
        if not sent:
            return
        execution = self._room.dice.choice(sent)
        deployment = self._world.ledger.deployments[execution.row.deployment_id]
        if self._room.dice.random() < 0.5:
            people.cancel(execution)
        elif people.pause(deployment):
            self._room.agenda.after(self._some(1, 3600), people.resume, deployment)
