"""The scripts of one host: shims that boot, mark, run, end or are killed, and the runner's watching of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from libs.contracts import Reason, Trigger
from services.host_runner.core.ending import Cause, Ending, How
from services.host_runner.core.host import Run
from services.host_runner.core.outcome import Limits, Outcome, judge, not_startable
from services.host_runner.core.vocabulary import RunExited, RunStarted
from tests.simulation.shim import Shim

if TYPE_CHECKING:
    from tests.simulation.host import Machine

TYPICAL_SECONDS = (2.0, 20.0, 200.0, 900.0, 2500.0)
ONE_START_MARK = True
"""The start mark is created exclusively."""


class Scripts:
    """The runner's hands, and what they hold."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._shims: dict[UUID, Shim] = {}
        self._to_cancel: set[UUID] = set()
        self._disk = 0
        self._boot = 0

    # What the runner orders.

    def spawn(self, run: Run) -> None:
        """Begin the run; answers at once."""
        self._machine.checks.admitted(self._machine.name, run.trigger)
        self.watch_later(run)

    def stop_run(self, run: Run) -> None:
        """End its tree; one that is not started yet will not be."""
        self._to_cancel.add(run.id)
        shim = self._shims.get(run.id)
        if shim is not None and shim.is_tree_alive and not shim.is_dead:
            self._machine.room.agenda.after(self._machine.room.lag(), self._end, shim, self._boot, Cause.CANCELLED)

    # execution.py: a watcher for each run.

    def watch_later(self, run: Run) -> None:
        """A watcher begins."""
        self._machine.room.agenda.after(self._machine.room.lag() / 10, self._watch, self._machine.life, run)

    def _watch(self, life: int, run: Run) -> None:
        machine = self._machine
        runner = machine.runner
        if life != machine.life or runner is None:
            return
        shim = self._shims.get(run.id)
        if shim is not None:
            if runner.is_cancelled(run.id):
                self.stop_run(run)
            self._poll(life, run)
            return
        limits = Limits(run.trigger.timeout_seconds)
        if runner.is_cancelled(run.id):
            self._to_cancel.add(run.id)
            ending = Ending(How.NOT_SPAWNED, ended_at=machine.clock(), cause=Cause.CANCELLED)
            self._exited(run, None, judge(ending, limits))
        elif machine.room.happens(machine.room.trouble.spawn_fails):
            self._to_cancel.add(run.id)
            self._exited(run, None, not_startable(Reason.SCRIPT_NOT_FOUND, "There is none", machine.clock()))
        else:
            # The new process is on its own from here on, whatever becomes of the runner.
            machine.room.agenda.after(machine.room.lag(), self._boots, self._disk, self._boot, run)
            if machine.room.happens(machine.room.trouble.runner_dies):
                machine.kill("when it had started a shim", machine.room.dice.choice((0.01, 1.0, 30.0)))

    def _boots(self, disk: int, boot: int, run: Run) -> None:
        """The shim: the start mark, then the script."""
        machine = self._machine
        if (disk, boot) != (self._disk, self._boot):
            return
        if run.id in self._shims and ONE_START_MARK:
            machine.room.note("second shim ends itself", run.id)
            return
        self._shims[run.id] = shim = Shim(run.trigger)
        if run.id in self._to_cancel:
            shim.ending = Ending(How.NOT_SPAWNED, ended_at=machine.clock(), cause=Cause.CANCELLED)
            self._notice(run.trigger)
            return
        machine.checks.script_starts(machine.name, run.trigger)
        machine.room.note("script starts", run.id, machine.name)
        shim.started_at, shim.is_tree_alive = machine.clock(), True
        dice = machine.room.dice
        seconds = dice.choice(TYPICAL_SECONDS) * dice.uniform(0.3, 1.5)
        limit = run.trigger.timeout_seconds
        cause = Cause.TIMED_OUT if seconds > limit else None
        machine.room.agenda.after(min(seconds, limit), self._end, shim, boot, cause)
        if machine.room.happens(machine.room.trouble.shim_killed):
            machine.room.agenda.after(min(seconds, limit) * dice.random(), self.kill_shim, run.id, boot)
        self._notice(run.trigger)

    def _end(self, shim: Shim, boot: int, cause: Cause | None) -> None:
        """The script ends, or is ended; its shim, if it lives, writes how."""
        machine = self._machine
        if boot != self._boot or not shim.is_tree_alive:
            return
        shim.is_tree_alive = False
        machine.checks.tree_is_gone(machine.name, shim.trigger)
        if shim.is_dead:
            return
        code = 1 if machine.room.dice.random() < 0.2 else 0
        began, now = shim.started_at, machine.clock()
        shim.ending = Ending(
            How.EXITED,
            ended_at=now,
            code=code,
            cause=cause,
            started_at=began,
            duration_seconds=0.0 if began is None else max((now - began).total_seconds(), 0.0),
        )
        machine.room.note("script ends", shim.trigger.execution_id, machine.name)
        self._notice(shim.trigger)

    def finish(self, execution: UUID) -> None:
        """Let a script end now."""
        self._end(self._shims[execution], self._boot, None)

    def kill_shim(self, execution: UUID, boot: int | None = None) -> None:
        """Its tree may live on, until the runner finds it."""
        if boot is not None and boot != self._boot:
            return
        shim = self._shims[execution]
        if not shim.is_tree_alive or shim.is_dead:
            return
        self._machine.room.fault("shim killed", self._machine.name)
        shim.is_dead = True
        self._notice(shim.trigger)

    def _notice(self, trigger: Trigger) -> None:
        machine = self._machine
        runner = machine.runner
        run = None if runner is None else runner.host.find(trigger.execution_id)
        if run is not None:
            machine.room.agenda.after(machine.room.lag(), self._poll, machine.life, run)

    def _poll(self, life: int, run: Run) -> None:
        """What the watcher sees: the start, then the end."""
        machine = self._machine
        runner, shim = machine.runner, self._shims.get(run.id)
        if life != machine.life or runner is None or shim is None:
            return
        if shim.started_at is not None:
            runner.apply(RunStarted(run.id, shim.started_at, machine.clock()))
        if shim.ending is None and shim.is_dead:
            self._bury(shim)
        if shim.ending is not None:
            self._exited(run, shim.ending, judge(shim.ending, Limits(run.trigger.timeout_seconds)))
        machine.decided()

    def _bury(self, shim: Shim) -> None:
        """process.py: _bury: what is left of the tree is killed first."""
        machine, now = self._machine, self._machine.clock()
        shim.is_tree_alive = False
        machine.checks.tree_is_gone(machine.name, shim.trigger)
        began = shim.started_at
        lasted = None if began is None else max((now - began).total_seconds(), 0.0)
        shim.ending = Ending(How.INTERRUPTED, ended_at=now, started_at=began, duration_seconds=lasted)

    def _exited(self, run: Run, ending: Ending | None, outcome: Outcome) -> None:
        machine = self._machine
        assert machine.runner is not None
        machine.runner.apply(RunExited(run.id, None if ending is None else ending.started_at, outcome, machine.clock()))
        machine.decided()

    # What becomes of the machine.

    def die(self) -> None:
        """No process outlives the machine."""
        self._boot += 1
        for shim in self._shims.values():
            if shim.ending is None:
                shim.is_dead = True
                if shim.is_tree_alive:
                    shim.is_tree_alive = False
                    self._machine.checks.tree_is_gone(self._machine.name, shim.trigger)

    def forget(self) -> None:
        """The disk is another."""
        self._disk += 1
        self._shims.clear()
        self._to_cancel.clear()

    def tidy(self, kept: timedelta) -> None:
        """upkeep.py: the folders of runs that are long over are removed."""
        old = self._machine.clock() - kept
        for identity, shim in list(self._shims.items()):
            if shim.ending is not None and shim.ending.ended_at < old:
                del self._shims[identity]
                self._to_cancel.discard(identity)

    def alive(self) -> list[UUID]:
        """Whose scripts live, the oldest first."""
        return [identity for identity, shim in self._shims.items() if shim.is_tree_alive]
