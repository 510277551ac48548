"""Whatever happens to a host, in whatever order: the invariants hold and nothing waits for what is free."""

from __future__ import annotations

from uuid import UUID

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from libs.contracts import Cancel, OnDeviceBusy, Reason, Trigger, Void
from services.host_runner.core.decide import decide
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import (
    Event,
    Finished,
    Report,
    RunExited,
    RunRequested,
    RunStarted,
    Spawn,
    Started,
    Stop,
    Ticked,
    Told,
)
from tests.support.host_runner import at, deployment, fence, lock, trigger, unlock
from tests.support.outcomes import a_success

DEPLOYMENTS = {"a": "stb-1", "b": "stb-1", "c": "stb-1", "d": "stb-2", "e": "stb-2", "f": "stb-3"}
names = st.sampled_from(sorted(DEPLOYMENTS))
devices = st.sampled_from(["stb-1", "stb-2"])


class HostMachine(RuleBasedStateMachine):
    """A host with three devices of which two may run, and a model: a set of live processes and of decided ids."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host(devices=frozenset({"stb-1", "stb-2", "stb-3"}), max_parallel=2)
        self.now = 0.0
        self.version = 1
        self.lock_version = 0
        self.fired: dict[UUID, Trigger] = {}
        self.decided: set[UUID] = set()
        self.live: dict[UUID, Trigger] = {}
        self.spawned: set[UUID] = set()
        self.ended: set[UUID] = set()

    def happen(self, event: Event) -> None:
        before = self.host
        self.host, commands = decide(before, event)
        for command in commands:
            match command:
                case Spawn(run):
                    assert run.id not in self.spawned, "a side effect twice (I6)"
                    self.spawned.add(run.id)
                    self.live[run.id] = run.trigger
                case Stop(run):
                    assert run.id in self.live
                case Report(run, word):
                    assert run.id not in self.ended, "a word after the last one (I4)"
                    if command.is_last:
                        self.ended.add(run.id)
                    if isinstance(word, Started | Finished):
                        assert run.id in self.spawned
                case _:
                    pass

    @rule(name=names, policy=st.sampled_from(OnDeviceBusy), passed=st.floats(0, 100), lag=st.integers(0, 2))
    def fire(self, name: str, policy: OnDeviceBusy, passed: float, lag: int) -> None:
        self.now += passed
        version = max(1, self.version - lag)
        one = trigger(
            name, self.now, device_id=DEPLOYMENTS[name], on_device_busy=policy, version=version, max_wait_seconds=300
        )
        self.fired[one.execution_id] = one
        self.deliver(one)

    def deliver(self, one: Trigger) -> None:
        known = one.execution_id in self.decided
        before = self.host
        self.happen(RunRequested(one, known, at(self.now)))
        if known:
            assert self.host is before
        self.decided.add(one.execution_id)

    @rule(data=st.data())
    def redeliver(self, data: st.DataObject) -> None:
        if self.fired:
            self.deliver(self.fired[data.draw(st.sampled_from(sorted(self.fired)))])

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        if self.live:
            self.happen(RunStarted(data.draw(st.sampled_from(sorted(self.live))), at(self.now), at(self.now)))

    @rule(data=st.data(), passed=st.floats(0, 10))
    def end(self, data: st.DataObject, passed: float) -> None:
        if self.live:
            self.now += passed
            ended = data.draw(st.sampled_from(sorted(self.live)))
            del self.live[ended]
            self.happen(RunExited(ended, at(self.now), a_success(at(self.now)), at(self.now)))

    @rule(data=st.data())
    def cancel_or_void(self, data: st.DataObject) -> None:
        known = sorted(self.fired) or [trigger("a").execution_id]
        target = data.draw(st.one_of(st.sampled_from(known), st.just(trigger("z", self.now).execution_id)))
        given = {"command_id": deployment("a command"), "host": "lab-1", "deployment_id": deployment("a")}
        is_cancel = data.draw(st.booleans())
        command = (Cancel if is_cancel else Void).model_validate({**given, "execution_id": target})
        assert isinstance(command, Cancel | Void)
        self.happen(Told(command, at(self.now), known=target in self.decided))

    @rule(name=names, reason=st.sampled_from([Reason.PAUSED, Reason.STOPPED]))
    def change(self, name: str, reason: Reason) -> None:
        self.version += 1
        self.happen(Told(fence(name, self.version, reason), at(self.now)))

    @rule(device=devices, expires=st.one_of(st.none(), st.floats(1, 500)))
    def lock(self, device: str, expires: float | None) -> None:
        self.lock_version += 1
        until = None if expires is None else self.now + expires
        self.happen(Told(lock(self.lock_version, device, until), at(self.now)))

    @rule(device=devices, is_late=st.booleans())
    def unlock(self, device: str, is_late: bool) -> None:
        self.lock_version += 0 if is_late else 1
        self.happen(Told(unlock(max(1, self.lock_version), device), at(self.now)))

    @rule(passed=st.floats(0, 400))
    def wait(self, passed: float) -> None:
        self.now += passed
        self.happen(Ticked(at(self.now)))

    @invariant()
    def what_the_host_says_runs_is_what_runs(self) -> None:
        assert {run.id for run in self.host.running.values()} == set(self.live)

    @invariant()
    def one_running_per_deployment_and_device(self) -> None:
        taken = [one.device_id for one in self.live.values()]
        assert len(taken) == len(set(taken)), "two scripts on one device (I3)"
        owners = [one.deployment_id for one in self.live.values()]
        assert len(owners) == len(set(owners)), "two runs of one deployment (I2)"
        assert len(self.live) <= self.host.max_parallel

    @invariant()
    def nothing_waits_for_what_is_free(self) -> None:
        waiting = [run for run in self.host.pending.values() if self.host.may_start(run)]
        assert not waiting, "a run waits although it may start (I7)"

    @invariant()
    def everything_decided_is_held_or_ended(self) -> None:
        held = {run.id for run in self.host.held()}
        assert held.isdisjoint(self.ended)
        assert self.decided == held | self.ended

    def teardown(self) -> None:
        """When everything that runs ends and every lock goes, nothing is left: nothing is stuck (I7)."""
        for device in ("stb-1", "stb-2"):
            self.lock_version += 1
            self.happen(Told(unlock(self.lock_version, device), at(self.now)))
        while self.live:
            ended = min(self.live)
            del self.live[ended]
            self.happen(RunExited(ended, at(self.now), a_success(at(self.now)), at(self.now)))
        assert not self.host.running
        assert not self.host.pending
        assert self.decided == self.ended


TestHostMachine = HostMachine.TestCase
# Another 40 stories each time; it is the unit tests' share of the time that is kept small.
TestHostMachine.settings = settings(max_examples=40, deadline=None)
