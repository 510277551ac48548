"""A host: its disk, its scripts, its clock, and the runner that comes and goes; the real `Runner` decides.

The order is that of the product's intake: decided and written, acknowledged, done, said. `takes` is where a runner may
die; whatever is lost in between, the next one finds in the journal.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts import (
    AnyCommand,
    CommandApplied,
    DeviceState,
    Trigger,
)
from libs.contracts.topology import commands_queue, triggers_queue
from services.host_runner.core.facts import Identity, device_state
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import Command
from tests.simulation.broker import Broker
from tests.simulation.checks import Checks
from tests.simulation.ingest import Ingest
from tests.simulation.journal import MemoryJournal
from tests.simulation.queues import Letter
from tests.simulation.room import Room
from tests.simulation.scripts import Scripts
from tests.simulation.speech import Speech
from tests.simulation.watched import Consumer, WatchedRunner, has_taken

KEEP_CONFIRMED = timedelta(hours=6)
"""Not seven days: no row is open for longer here, and a host that is asked again says it all."""
FORGET_SECONDS = 3 * 3600.0
CLOCK_SECONDS = 1800.0
MOST_UNSENT = 1_000_000


class Machine:
    """One host. `life` counts runners, `session` connections: what belongs to a former one does nothing."""

    def __init__(
        self, room: Room, checks: Checks, broker: Broker, ingest: Ingest, name: str, devices: int, max_parallel: int
    ) -> None:
        self.room = room
        self.checks = checks
        self._broker = broker
        self._ingest = ingest
        self.name = name
        self.devices = tuple(f"{name}-dev{number}" for number in range(1, devices + 1))
        self.max_parallel = max_parallel
        self.offset = timedelta()
        """What to add to database time for the host's clock."""
        self.journal = MemoryJournal(room.new_id(), KEEP_CONFIRMED)
        self.scripts = Scripts(self)
        self.speech = Speech(self, broker)
        self.runner: WatchedRunner | None = None
        self.life = 0
        self.session = 0
        self.is_connected = False
        self.is_cut_off = False
        """The network keeps it from the broker."""
        self.dies_at: str | None = None
        """The step at which the runner dies next, for those who choose it."""
        self._last_seen: datetime | None = None
        self._consumers: list[Consumer] = []
        self._acks: list[tuple[Consumer, Letter]] = []
        """On their way to the broker."""
        self._heard_of: Host | None = None
        self.connected_at = room.now
        self._tick_at: datetime | None = None

    def clock(self) -> datetime:
        """The host's clock."""
        return self.room.now + self.offset

    # The runner's life.

    def start(self) -> None:
        """__main__.py: a runner finds the journal as it was left, and adopts what runs."""
        if self.runner is not None:
            return
        self.life += 1
        host = self.journal.load(frozenset(self.devices), self.max_parallel)
        identity = Identity(self.name, self.journal.id, self.room.new_id())
        self.runner = WatchedRunner(host, self.journal, identity, self)
        self.runner.use(self.scripts)
        self.room.note("runner starts", None, self.name)
        for run in host.running.values():
            self.scripts.watch_later(run)
        self._tick_at = None
        self._look_ahead()
        self.room.agenda.after(self.room.dice.uniform(0, FORGET_SECONDS), self._forget, self.life)
        self.connect_later(self.room.dice.uniform(0.1, 2))

    def kill(self, why: str, back_after: float) -> None:
        """kill -9 of the runner; scripts go on."""
        if self.runner is None:
            return
        self.room.fault("runner died", f"{self.name} {why}")
        self.life += 1
        self.disconnect()
        self.runner = None
        self.room.agenda.after(back_after, self.start)

    def reboot(self, back_after: float) -> None:
        """The power fails: nothing of a process is left, and the disk is as it was written."""
        self.kill("with the whole machine", back_after)
        self.scripts.die()

    def lose_disk(self, back_after: float) -> None:
        """The machine is replaced: a new disk, a new journal."""
        self.reboot(back_after)
        answers = (event for _, event in self.journal.events_to_send(MOST_UNSENT))
        answered = {event.command_id for event in answers if isinstance(event, CommandApplied)}
        self.checks.disk_lost(self.name, self.journal.remembered(), answered)
        self.scripts.forget()
        self.journal = MemoryJournal(self.room.new_id(), KEEP_CONFIRMED)

    def set_clock(self, offset: timedelta) -> None:
        """Somebody, or something, sets the host's clock; upkeep.py sees it within half a second."""
        self.offset = offset
        self.room.agenda.after(self.room.dice.uniform(0, 0.5), self._clock_was_set, self.life)

    def _clock_was_set(self, life: int) -> None:
        if self.life == life and self.runner is not None:
            self.runner.clock_was_set()
            self._ask_for_the_time(self.session, 3)
            self.decided()

    # Its connection.

    def connect_later(self, seconds: float) -> None:
        """Try after so many seconds."""
        self.room.agenda.after(seconds, self._connect, self.life)

    def _connect(self, life: int) -> None:
        """session.py: _work: commands first, a hello, what there is to say."""
        if life != self.life or self.is_connected or self.runner is None:
            return
        mine = commands_queue(self.name), triggers_queue(self.name)
        if self.is_cut_off or not all(self._broker.queues[name].is_there for name in mine):
            self.connect_later(self.room.dice.uniform(1, 10))
            return
        self.session += 1
        self.connected_at = self.room.now
        self.is_connected = True
        self._consume(commands_queue(self.name))
        self.speech.hello(self.session)
        self.speech.say()
        self._admit_when_told_all(self.session, 0)
        self.room.agenda.after(10.0, self._ask_for_the_time, self.session, 3)

    def disconnect(self) -> None:
        """The connection is gone; what was not acknowledged comes again."""
        if not self.is_connected:
            return
        self.goes_unheard()
        self.is_connected = False
        self.session += 1
        for consumer, letter in self._acks:
            # What was written to the connection before it ended may still arrive.
            if self.room.dice.random() < 0.5:
                consumer.queue.acked(consumer, [letter])
        self._acks.clear()
        for consumer in self._consumers:
            consumer.queue.leave(consumer)
        self._consumers = []

    def drop(self, back_after: float) -> None:
        """The connection breaks, and the runner connects again."""
        if self.is_connected:
            self.room.fault("connection lost", self.name)
            self.disconnect()
            self.connect_later(back_after)

    def cut_off(self, seconds: float) -> None:
        """Away from the broker for so long; the runner lives."""
        self.room.fault("host away", f"{self.name} for {seconds:.0f} s")
        self.is_cut_off = True
        self.disconnect()
        self.room.agenda.after(seconds, self.come_back)

    def come_back(self) -> None:
        """The network is there again."""
        if self.is_cut_off:
            self.is_cut_off = False
            self.connect_later(1.0)

    def last_seen(self) -> datetime | None:
        """presence.sql: hosts_seen; a heartbeat every ten seconds is not simulated but known."""
        return self.room.now if self.is_connected and self._ingest.up_since is not None else self._last_seen

    def goes_unheard(self) -> None:
        """Heartbeats are not consumed from now on."""
        self._last_seen = self.last_seen()
        self._heard_of = self._as_heard()

    def _as_heard(self) -> Host | None:
        if self.runner is not None and self.is_connected and self._ingest.up_since is not None:
            return self.runner.host
        return self._heard_of

    def has_decided_about(self, execution: UUID) -> bool:
        """Whether it has taken or refused the trigger, or promised to refuse it."""
        return execution in self.journal.remembered() or execution in self.checks.forgotten

    def device(self, device: str) -> DeviceState | None:
        """presence.sql: update_devices; what the device did at the last heartbeat, which says so within a second."""
        host = self._as_heard()
        return None if host is None else device_state(host, device)

    def _consume(self, name: str) -> None:
        consumer = Consumer(self, self.session, self._broker.queues[name])
        self._consumers.append(consumer)
        consumer.queue.consume(consumer)

    def _admit_when_told_all(self, session: int, quiet_looks: int) -> None:
        """intake.py: _until_told_all: a first sync was seen, and there is no command left, ready or delivered."""
        if session != self.session or not self.is_connected or self.runner is None:
            return
        if quiet_looks == 2:
            self._consume(triggers_queue(self.name))
            return
        queue = self._broker.queues[commands_queue(self.name)]
        is_quiet = self.runner.synced.is_set() and not queue.ready and not queue.unacked
        pause = 0.06 if self.runner.synced.is_set() else 2.0
        self.room.agenda.after(pause, self._admit_when_told_all, session, quiet_looks + 1 if is_quiet else 0)

    # Taking messages.

    def take(self, consumer: Consumer, letter: Letter) -> None:
        """intake.py: _take."""
        life = self.life
        if self._dies("received", life):
            return
        todo = self.write_down(letter)
        if self._dies("written", life):
            return
        self.acknowledge(consumer, letter)
        if self._dies("acknowledged", life):
            return
        if self.runner is not None:
            self.runner.perform(todo)
        if self._dies("done", life):
            return
        self.decided()

    def write_down(self, letter: Letter) -> tuple[Command, ...]:
        """Decide, in the journal."""
        assert self.runner is not None
        message = letter.message
        if isinstance(message, Trigger):
            todo = self.runner.request(message)
        else:
            assert isinstance(message, AnyCommand)
            todo = self.runner.tell(message)
        has_taken(self, message)
        return todo

    def acknowledge(self, consumer: Consumer, letter: Letter) -> None:
        """The broker hears it a little later, or never."""
        room = self.room
        if room.happens(room.trouble.ack_lost):
            room.fault("acknowledgement lost", self.name)
            room.agenda.after(room.lag(), self._ack_is_lost, self.session)
        else:
            self._acks.append((consumer, letter))
            room.agenda.after(room.lag(), self._ack_arrives, consumer, letter)

    def _ack_arrives(self, consumer: Consumer, letter: Letter) -> None:
        if (consumer, letter) in self._acks:
            self._acks.remove((consumer, letter))
            consumer.queue.acked(consumer, [letter])

    def _ack_is_lost(self, session: int) -> None:
        if self.session == session:
            self.drop(1.0)

    def _dies(self, step: str, life: int) -> bool:
        if self.life != life:
            return True
        if self.dies_at != step and not self.room.happens(self.room.trouble.runner_dies):
            return False
        self.dies_at = None
        if self.room.happens(self.room.trouble.disk_lost_too):
            self.lose_disk(5.0)
        else:
            self.kill(f"when it had {step}", self.room.dice.choice((1.0, 5.0, 60.0)))
        return True

    # What time does.

    def decided(self) -> None:
        """After each decision: say what there is to say, and look when time will do something."""
        if self.runner is not None:
            self.speech.say()
            self._look_ahead()

    def _look_ahead(self) -> None:
        """upkeep.py ticks twice a second; here, only when a tick would do something."""
        assert self.runner is not None
        host, now = self.runner.host, self.clock()
        ends = [
            run.waiting_since + timedelta(seconds=run.trigger.max_wait_seconds)
            for run in host.pending.values()
            if run.waiting_since is not None
        ]
        offset = timedelta(seconds=host.clock_offset_seconds or 0.0)
        ends += [lock.expires_at - offset for lock in host.locks.values() if lock.held and lock.expires_at is not None]
        if not ends:
            return
        seconds = max((min(ends) - now).total_seconds(), 0.0) + 0.5
        # A lock whose end the host cannot tell is looked at now and then.
        when = self.room.now + timedelta(seconds=seconds if min(ends) > now else 30.0)
        if self._tick_at is None or when < self._tick_at or self._tick_at <= self.room.now:
            self._tick_at = when
            self.room.agenda.at(when, self._tick, self.life)

    def _tick(self, life: int) -> None:
        if self.life == life and self.runner is not None:
            self.runner.tick()
            self.decided()

    def _forget(self, life: int) -> None:
        if self.life == life and self.runner is not None:
            self.runner.forget(self.clock())
            self.room.agenda.after(FORGET_SECONDS, self._forget, life)

    def _ask_for_the_time(self, session: int, soon: int) -> None:
        """outbound.py: heartbeats: which one asks for the time."""
        if session == self.session and self.is_connected:
            self._ingest.asked_for_the_time(self.name, self.clock())
            pause = 10.0 if soon else CLOCK_SECONDS
            self.room.agenda.after(pause, self._ask_for_the_time, session, max(soon - 1, 0))
