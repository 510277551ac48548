"""The simulator's journal against the real one: the same story, the same state, the same events to send."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from libs.contracts import Cancel, Reason, Resend, Void, decode
from services.host_runner.core.facts import Identity
from services.host_runner.core.vocabulary import RunExited, RunStarted
from services.host_runner.journal import Journal
from services.host_runner.runner import Runner
from tests.simulation.journal import MemoryJournal
from tests.simulation.quiet import be_quiet
from tests.simulation.watched import UnreadLog
from tests.support.host_runner import at, deployment, fence, lock, trigger, unlock
from tests.support.outcomes import a_success

DEVICES = frozenset({"stb-1", "stb-2"})
JOURNAL = UUID(int=7)
NAMES = {"a": "stb-1", "b": "stb-1", "c": "stb-2"}


class Told:
    """One journal, and the runners that come and go on it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.time = 0.0
        self.restart()

    def restart(self) -> None:
        host = self.journal.load(DEVICES, 2)
        self.runner = Runner(
            host, self.journal, Identity("lab-1", JOURNAL, JOURNAL), UnreadLog(), lambda: at(self.time)
        )

        class Hands:
            def spawn(self, run: object) -> None: ...

            def stop_run(self, run: object) -> None: ...

        self.runner.use(Hands())

    def happen(self, dice: random.Random) -> None:
        """One drawn thing."""
        self.time += dice.choice((0.0, 1.0, 60.0, 3600.0))
        name = dice.choice(sorted(NAMES))
        running = sorted(self.runner.host.running.values(), key=lambda run: run.id)
        target = trigger(name, dice.randrange(50)).execution_id
        ids = {"command_id": UUID(int=dice.getrandbits(100)), "host": "lab-1"}
        match dice.randrange(12):
            case 0 | 1 | 2 | 3:
                one = trigger(name, dice.randrange(50), device_id=NAMES[name], version=dice.randint(1, 9))
                self.runner.request(one)
            case 4 | 5:
                if running:
                    self.runner.apply(RunStarted(running[0].id, at(self.time), at(self.time)))
            case 6 | 7:
                if running:
                    event = RunExited(running[0].id, at(self.time), a_success(at(self.time)), at(self.time))
                    self.runner.apply(event)
            case 8:
                kind = dice.choice((Cancel, Void))
                self.runner.tell(kind(**ids, execution_id=target, deployment_id=deployment(name)))
            case 9:
                self.runner.tell(fence(name, dice.randint(1, 9), Reason.PAUSED))
                version = dice.randint(1, 9)
                self.runner.tell(dice.choice((lock(version, "stb-1", None), unlock(version, "stb-1"))))
            case 10:
                self.journal.confirmed(range(1, dice.randint(2, 40)), at(self.time))
                if dice.random() < 0.2:
                    self.runner.tell(Resend(**ids, from_sequence=dice.randint(0, 20)))
            case _:
                self.journal.forget(at(self.time), at(self.time) + timedelta(days=dice.choice((0, 0, 8))))
                self.restart()


def test_a_drawn_story_leaves_the_same_in_both(tmp_path: Path, seed: int) -> None:
    be_quiet()
    real, memory = Journal(tmp_path / "journal.db", fresh_id=JOURNAL), MemoryJournal(JOURNAL)
    one, other = Told(real), Told(memory)
    for step in range(400):
        for told in (one, other):
            told.happen(random.Random(f"{seed}/{step}"))
        assert one.runner.host == other.runner.host, f"step {step}"
    assert real.load(DEVICES, 2) == memory.load(DEVICES, 2)
    assert real.count_unsent() == memory.count_unsent() > 0
    sent = [(each.sequence, decode(each.envelope.type, each.envelope.body)) for each in real.unsent(10_000)]
    assert sent == memory.events_to_send(10_000)
    real.close()
