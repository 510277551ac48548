"""The same world in small, driven step by step by Hypothesis, so that what breaks shrinks to a short story."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from libs.contracts.topology import triggers_queue
from tests.simulation.host import Machine
from tests.simulation.lab import BEGINS
from tests.simulation.queues import Letter
from tests.simulation.quiet import be_quiet
from tests.simulation.room import Room
from tests.simulation.rows import Deployment, Execution
from tests.simulation.trouble import STEPS, Trouble
from tests.simulation.verdict import Verdict
from tests.simulation.world import World

picks = st.integers(0, 7)
seconds = st.sampled_from((0.01, 0.05, 1.0, 30.0, 90.0, 700.0, 4000.0))


class WorldMachine(RuleBasedStateMachine):
    """Two hosts of two devices and six deployments; nothing goes wrong but by a rule."""

    world: World

    @initialize(seed=st.integers(0, 9), begin=st.sampled_from(BEGINS))
    def build(self, seed: int, begin: Any) -> None:
        be_quiet()
        self.world = World(Room(seed, begin, Trouble()), hosts=2, devices=2, deployments=6)
        self.world.room.agenda.run_for(60)

    def machine(self, pick: int) -> Machine:
        machines = list(self.world.machines.values())
        return machines[pick % len(machines)]

    def deployment(self, pick: int) -> Deployment:
        deployments = list(self.world.ledger.deployments.values())
        return deployments[pick % len(deployments)]

    def execution(self, pick: int) -> Execution | None:
        under_way = list(self.world.ledger.open.values())
        return under_way[pick % len(under_way)] if under_way else None

    # Time.

    @rule(pick=picks, later=st.sampled_from((0.0, 0.03, 0.2)))
    def fire(self, pick: int, later: float) -> None:
        due = self.deployment(pick).next_due_at
        if due is not None and due - self.world.room.now < timedelta(days=2):
            self.world.room.agenda.run_until(due)
            self.world.room.agenda.run_for(later)

    @rule(passed=seconds)
    def wait(self, passed: float) -> None:
        self.world.room.agenda.run_for(passed)

    @rule(steps=st.integers(1, 12))
    def let_a_few_things_happen(self, steps: int) -> None:
        for _ in range(steps):
            self.world.room.agenda.step()

    # The network.

    @rule(pick=picks, back=picks)
    def duplicate(self, pick: int, back: int) -> None:
        executions = list(self.world.ledger.outbox.values())[-8:]
        parcel = executions[back % len(executions)] if executions else None
        if parcel is not None and parcel.not_after is not None and parcel.not_after > self.world.room.now:
            left = (parcel.not_after - self.world.room.now).total_seconds()
            self.world.broker.queues[triggers_queue(parcel.message.host)].put([Letter(parcel.message, left)])

    @rule(pick=picks)
    def drop_connection(self, pick: int) -> None:
        self.machine(pick).drop(0.5)

    @rule(pick=picks, away=seconds)
    def cut_off(self, pick: int, away: float) -> None:
        self.machine(pick).cut_off(away)

    @rule(down=st.sampled_from((1.0, 30.0)))
    def restart_broker(self, down: float) -> None:
        self.world.restart_broker(down)

    @rule()
    def wipe_broker(self) -> None:
        self.world.wipe_broker(1.0)

    # Crashes.

    @rule(pick=picks, step=st.sampled_from(STEPS))
    def runner_dies_at(self, pick: int, step: str) -> None:
        self.machine(pick).dies_at = step

    @rule(pick=picks, back=seconds)
    def restart_runner(self, pick: int, back: float) -> None:
        self.machine(pick).kill("by a rule", back)

    @rule(pick=picks)
    def reboot(self, pick: int) -> None:
        self.machine(pick).reboot(20.0)

    @rule(pick=picks)
    def lose_disk(self, pick: int) -> None:
        self.machine(pick).lose_disk(5.0)

    @rule(pick=picks, away=seconds)
    def scheduler_dies(self, pick: int, away: float) -> None:
        self.world.schedulers.kill(pick % self.world.schedulers.count, away)

    @rule(away=seconds)
    def ingest_away(self, away: float) -> None:
        self.world.ingest_away(away)

    @rule(pick=picks, offset=st.sampled_from((-900, -120, -20, 0, 20, 120, 900)))
    def set_clock(self, pick: int, offset: int) -> None:
        self.machine(pick).set_clock(timedelta(seconds=offset))

    # Scripts.

    @rule(pick=picks)
    def finish_script(self, pick: int) -> None:
        alive = self.machine(pick).scripts.alive()
        if alive:
            self.machine(pick).scripts.finish(alive[0])

    @rule(pick=picks)
    def kill_shim(self, pick: int) -> None:
        alive = self.machine(pick).scripts.alive()
        if alive:
            self.machine(pick).scripts.kill_shim(alive[0])

    # People.

    @rule(pick=picks, action=st.sampled_from(("pause", "resume", "run_now", "run_now")))
    def change(self, pick: int, action: str) -> None:
        getattr(self.world.people, action)(self.deployment(pick))

    @rule(pick=picks, action=st.sampled_from(("stop", "delete")))
    def end(self, pick: int, action: str) -> None:
        getattr(self.world.people, action)(self.deployment(pick))

    @rule(pick=picks, more=st.integers(1, 3))
    def lower_limit(self, pick: int, more: int) -> None:
        deployment = self.deployment(pick)
        self.world.people.patch(deployment, {"max_executions": deployment.row.execution_count + more})

    @rule(pick=picks, cron=st.sampled_from(("*/5 * * * *", "*/15 * * * *", "30 2 * * *")))
    def edit_cron(self, pick: int, cron: str) -> None:
        self.world.people.patch(self.deployment(pick), {"cron_expression": cron})

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        execution = self.execution(pick)
        if execution is not None:
            self.world.people.cancel(execution)

    @rule(pick=picks, lasting=st.sampled_from((None, 60, 3600)))
    def lock(self, pick: int, lasting: int | None) -> None:
        machine = self.machine(pick)
        self.world.people.lock(machine.name, machine.devices[pick // 2 % 2], lasting)

    @rule(pick=picks)
    def unlock(self, pick: int) -> None:
        machine = self.machine(pick)
        self.world.people.unlock(machine.name, machine.devices[pick // 2 % 2])

    # What must hold. I6, and I2 to I5 as far as they are about a moment, are raised by the world where they break.

    @invariant()
    def one_script_per_device_and_deployment(self) -> None:
        if hasattr(self, "world"):
            live = self.world.checks.live
            assert len(set(live.values())) == len(live), "one script on two devices (I3)"
            assert set(live.values()) == set(self.world.checks.live_of.values()), "two of a deployment (I2)"

    @invariant()
    def a_host_runs_what_it_holds(self) -> None:
        if hasattr(self, "world"):
            for machine in self.world.machines.values():
                if machine.runner is not None:
                    running = {run.id for run in machine.runner.host.running.values()}
                    assert set(machine.scripts.alive()) <= running, "a script that its host does not know (I7)"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.quiesce()
            Verdict(self.world).pronounce()


TestWorld = WorldMachine.TestCase
# Another set of stories for each version of this file, the same for each run of it.
TestWorld.settings = settings(
    max_examples=45,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
