"""The host's rules as transcripts: an event in, the commands and the state out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import (
    Cancel,
    CommandResult,
    FenceState,
    LockState,
    OnDeviceBusy,
    Reason,
    Resend,
    Sync,
    Trigger,
    Void,
)
from services.host_runner.core.decide import decide
from services.host_runner.core.host import DeviceLock, FenceMark, Host, Run
from services.host_runner.core.vocabulary import (
    Answer,
    Cancelled,
    ClockRead,
    ClockSet,
    Command,
    Event,
    Finished,
    Queued,
    Report,
    RunExited,
    RunRequested,
    RunStarted,
    SendAgain,
    Skipped,
    Spawn,
    Started,
    Stop,
    Ticked,
    Told,
)
from tests.support.host_runner import T0, at, deployment, fence, lock, trigger, unlock
from tests.support.outcomes import a_failure, a_success

COMMAND = deployment("a command")
QUEUE = {"on_device_busy": OnDeviceBusy.QUEUE}
EMPTY = Host(devices=frozenset({"stb-1", "stb-2"}), max_parallel=2)


class Script:
    """A host that lives through events; `tell` returns the commands of the last."""

    def __init__(self, host: Host = EMPTY) -> None:
        self.host = host

    def tell(self, event: Event) -> tuple[Command, ...]:
        self.host, commands = decide(self.host, event)
        return commands

    def request(self, one: Trigger, seconds: float = 0, *, known: bool = False) -> tuple[Command, ...]:
        return self.tell(RunRequested(one, known, at(seconds)))

    def exit(self, one: Trigger, seconds: float, *, failed: bool = False) -> tuple[Command, ...]:
        outcome = a_failure(at(seconds)) if failed else a_success(at(seconds))
        return self.tell(RunExited(one.execution_id, None, outcome, at(seconds)))

    def running(self) -> set[UUID]:
        return {run.id for run in self.host.running.values()}

    def pending(self) -> set[UUID]:
        return {run.id for run in self.host.pending.values()}


def skipped(commands: tuple[Command, ...]) -> Skipped:
    (report,) = commands
    assert isinstance(report, Report)
    assert isinstance(report.word, Skipped)
    return report.word


def test_a_known_id_does_nothing() -> None:
    script = Script()
    assert script.request(trigger("a"), known=True) == ()
    assert script.host is EMPTY


def test_an_id_that_is_running_or_pending_does_nothing() -> None:
    script = Script()
    script.request(trigger("a", 0))
    script.request(trigger("a", 60), 60)
    before = script.host
    assert script.request(trigger("a", 0), 61) == ()
    assert script.request(trigger("a", 60), 61) == ()
    assert script.host is before


def test_a_free_device_starts_at_once() -> None:
    one = trigger("a")
    run = Run(one, received_at=at(1), admitted_at=at(1))
    script = Script()
    assert script.request(one, 1) == (Spawn(run),)
    assert script.host == replace(EMPTY, running={deployment("a"): run})


@pytest.mark.parametrize("failed", [False, True])
def test_one_runs_one_waits_the_third_is_skipped_and_the_second_starts_at_the_end_of_the_first(failed: bool) -> None:
    first, second, third = trigger("a", 0), trigger("a", 60), trigger("a", 120)
    script = Script()
    script.request(first, 0)
    parked = Run(second, received_at=at(60), queued_at=at(60))
    assert script.request(second, 60) == (Report(parked, Queued(None)),)
    assert skipped(script.request(third, 120)) == Skipped(Reason.ALREADY_QUEUED, "Already queued (max 1)")
    ended, started = script.exit(first, 150, failed=failed)
    assert isinstance(ended, Report)
    assert isinstance(ended.word, Finished)
    assert started == Spawn(replace(parked, admitted_at=at(150)))
    assert script.host == replace(EMPTY, running={deployment("a"): replace(parked, admitted_at=at(150))})


def test_the_slot_is_free_again_after_its_run_started() -> None:
    script = Script()
    for seconds in (0, 60):
        script.request(trigger("a", seconds), seconds)
    script.exit(trigger("a", 0), 100)
    script.request(trigger("a", 120), 120)
    assert script.running() == {trigger("a", 60).execution_id}
    assert script.pending() == {trigger("a", 120).execution_id}


def test_a_start_is_reported_once_with_the_time_of_the_process() -> None:
    one = trigger("a")
    script = Script()
    script.request(one, 0)
    (report,) = script.tell(RunStarted(one.execution_id, at(0.1), at(0.2)))
    assert isinstance(report, Report)
    assert report.word == Started(at(0.1))
    assert script.tell(RunStarted(one.execution_id, at(0.1), at(0.3))) == ()


def test_a_run_that_ended_unwatched_is_reported_as_started_first() -> None:
    one = trigger("a")
    script = Script()
    script.request(one, 0)
    started, ended = script.tell(RunExited(one.execution_id, at(1), a_success(at(2)), at(9)))
    assert isinstance(started, Report)
    assert started.word == Started(at(1))
    assert isinstance(ended, Report)
    assert ended.run.started_at == at(1)
    assert script.host == EMPTY


def test_the_exit_of_an_unknown_run_does_nothing() -> None:
    script = Script()
    assert script.exit(trigger("a"), 1) == ()
    assert script.host is EMPTY


def test_a_busy_device_skips_by_default_and_queues_if_asked() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    word = skipped(script.request(trigger("b"), 1))
    assert (word.reason, word.message) == (
        Reason.DEVICE_BUSY,
        "The device was busy with another deployment: a",
    )
    patient = trigger("c", **QUEUE)
    parked = Run(patient, received_at=at(2), queued_at=at(2), waiting_since=at(2))
    assert script.request(patient, 2) == (Report(parked, Queued(Reason.DEVICE_BUSY)),)
    assert script.host.pending == {deployment("c"): parked}


def test_a_device_for_which_another_waits_longer_is_busy() -> None:
    script = Script()
    script.tell(Told(lock(1), T0))
    script.request(trigger("a", **QUEUE), 0)
    script.host = replace(script.host, locks={})
    assert skipped(script.request(trigger("b"), 1)) == Skipped(
        Reason.DEVICE_BUSY, "The device was busy with another deployment: a has been waiting for it"
    )


def test_another_device_is_another_matter() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    (command,) = script.request(trigger("b", device_id="stb-2"), 1)
    assert isinstance(command, Spawn)


def test_the_longest_waiting_of_any_deployment_starts_first() -> None:
    script = Script()
    script.request(trigger("a", 0), 0)
    script.request(trigger("c", 30, **QUEUE), 31)
    script.request(trigger("b", 20, **QUEUE), 32)
    script.request(trigger("a", 60), 60)
    _, spawn = script.exit(trigger("a", 0), 70)
    assert isinstance(spawn, Spawn)
    assert spawn.run.id == trigger("b", 20).execution_id
    # What waited behind its own deployment waits for the device since that one ended.
    assert script.host.pending[deployment("a")].waiting_since == at(70)
    assert script.pending() == {trigger("c", 30).execution_id, trigger("a", 60).execution_id}


def test_equal_scheduled_times_go_by_id() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    waiting = [trigger(name, 10, **QUEUE) for name in "bcdef"]
    for one in waiting:
        script.request(one, 11)
    order = []
    current = trigger("a")
    for _ in waiting:
        spawn = script.exit(current, 20)[-1]
        assert isinstance(spawn, Spawn)
        current = spawn.run.trigger
        order.append(current.execution_id)
    assert order == sorted(one.execution_id for one in waiting)


def test_a_full_host_skips_or_queues_and_takes_up_the_waiting_of_any_device() -> None:
    script = Script(replace(EMPTY, max_parallel=1))
    script.request(trigger("a"), 0)
    assert skipped(script.request(trigger("b", device_id="stb-2"), 1)) == Skipped(
        Reason.HOST_BUSY, "The host already ran as many scripts as it may (1): a on stb-1"
    )
    (report,) = script.request(trigger("c", device_id="stb-2", **QUEUE), 2)
    assert isinstance(report, Report)
    assert report.word == Queued(Reason.HOST_BUSY)
    spawn = script.exit(trigger("a"), 9)[-1]
    assert isinstance(spawn, Spawn)
    assert spawn.run.device == "stb-2"


def test_an_unknown_device_is_refused() -> None:
    assert skipped(Script().request(trigger("a", device_id="stb-9"))).reason is Reason.UNKNOWN_DEVICE


def test_a_pending_run_whose_device_was_taken_from_the_host_is_not_forgotten() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("a", 60), 60)
    script.host = replace(script.host, devices=frozenset({"stb-2"}))
    reports = script.exit(trigger("a"), 70)
    assert isinstance(reports[-1], Report)
    assert isinstance(reports[-1].word, Skipped)
    assert reports[-1].word.reason is Reason.UNKNOWN_DEVICE
    assert not script.host.pending


# --- time


def test_lateness_needs_a_known_and_sane_offset() -> None:
    late = trigger("a", 0, not_after=at(10))
    assert isinstance(Script().request(late, 11)[0], Spawn)
    script = Script()
    script.tell(ClockRead(31.0))
    assert isinstance(script.request(late, 11)[0], Spawn)
    script = Script()
    script.tell(ClockRead(1.5))
    word = skipped(script.request(late, 11))
    assert word.reason is Reason.MISSED
    assert word.message.endswith("it came 2.5 s too late")
    script = Script()
    script.tell(ClockRead(-1.5))
    assert isinstance(script.request(late, 11)[0], Spawn)
    script = Script()
    script.tell(ClockRead(1.5))
    script.tell(ClockSet())
    assert isinstance(script.request(late, 11)[0], Spawn)


def test_what_the_journal_may_have_forgotten_is_refused() -> None:
    script = Script(replace(EMPTY, forgotten_before=at(601)))
    assert skipped(script.request(trigger("a", 0))).reason is Reason.MISSED
    assert isinstance(script.request(trigger("a", 1))[0], Spawn)


def test_waiting_for_a_device_has_a_limit() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("b", 1, max_wait_seconds=60, **QUEUE), 1)
    before = script.host
    assert script.tell(Ticked(at(60.9))) == ()
    assert script.host is before
    word = skipped(script.tell(Ticked(at(61))))
    assert (word.reason, word.message) == (
        Reason.WAITED_TOO_LONG,
        "It waited longer than it was allowed to wait: 60 s",
    )
    assert not script.host.pending


def test_waiting_for_the_own_deployment_has_none() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("a", 60, max_wait_seconds=60), 60)
    assert script.tell(Ticked(at(100_000))) == ()
    assert script.pending() == {trigger("a", 60).execution_id}


# --- fences


def test_a_fence_refuses_older_triggers_with_its_reason_and_lets_newer_pass() -> None:
    script = Script()
    order = fence("a", 5, Reason.STOPPED)
    assert script.tell(Told(order, T0)) == (Answer(order, CommandResult.APPLIED),)
    assert script.host == replace(EMPTY, fences={deployment("a"): FenceMark(1, 5, Reason.STOPPED)})
    assert skipped(script.request(trigger("a", version=4))).reason is Reason.STOPPED
    assert isinstance(script.request(trigger("a", 1, version=5))[0], Spawn)


def test_a_new_epoch_counts_more_than_a_version() -> None:
    script = Script()
    script.tell(Told(fence("a", 5, epoch=2), T0))
    assert skipped(script.request(trigger("a", version=9))).reason is Reason.PAUSED
    assert isinstance(script.request(trigger("a", 1, version=5, ledger_epoch=2))[0], Spawn)


def test_a_fence_empties_the_slot_and_lets_the_run_go_on() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("a", 60), 60)
    order = fence("a", 2)
    report, answer = script.tell(Told(order, at(61)))
    assert isinstance(report, Report)
    assert report.word == Skipped(Reason.PAUSED, "The deployment was paused")
    assert report.run.queued_at == at(60)
    assert answer == Answer(order, CommandResult.APPLIED)
    assert script.running() == {trigger("a").execution_id}
    assert not script.host.pending


def test_a_fence_that_is_not_newer_is_boring() -> None:
    script = Script()
    script.tell(Told(fence("a", 5), T0))
    script.request(trigger("a", version=5), 0)
    script.request(trigger("a", 60, version=5), 60)
    before = script.host
    for order in (fence("a", 5), fence("a", 4, Reason.STOPPED)):
        assert script.tell(Told(order, at(61))) == (Answer(order, CommandResult.STALE),)
        assert script.host is before


def test_a_fence_leaves_a_newer_run_in_the_slot() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("a", 60, version=7), 60)
    assert len(script.tell(Told(fence("a", 6), at(61)))) == 1
    assert script.pending() == {trigger("a", 60).execution_id}


# --- cancel and void


def cancel_of(one: Trigger) -> Cancel:
    return Cancel(command_id=COMMAND, host="lab-1", execution_id=one.execution_id, deployment_id=one.deployment_id)


def void_of(one: Trigger) -> Void:
    return Void(command_id=COMMAND, host="lab-1", execution_id=one.execution_id, deployment_id=one.deployment_id)


def test_cancel_of_a_pending_run_drops_it() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("a", 60), 60)
    order = cancel_of(trigger("a", 60))
    report, answer = script.tell(Told(order, at(61)))
    assert isinstance(report, Report)
    assert report.word == Cancelled()
    assert answer == Answer(order, CommandResult.APPLIED)
    assert not script.host.pending


def test_cancel_of_a_running_run_stops_it_once_and_is_remembered() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    order = cancel_of(trigger("a"))
    stop, answer = script.tell(Told(order, at(1)))
    run = script.host.running[deployment("a")]
    assert run.cancel_requested
    assert stop == Stop(run)
    assert answer == Answer(order, CommandResult.APPLIED)
    assert script.tell(Told(order, at(2))) == (Answer(order, CommandResult.STALE),)


def test_cancel_of_an_ended_run_is_stale() -> None:
    order = cancel_of(trigger("a"))
    assert Script().tell(Told(order, T0, known=True)) == (Answer(order, CommandResult.STALE),)


def test_cancel_of_an_unknown_run_leaves_a_tombstone_that_ends_it_on_arrival() -> None:
    script = Script()
    order = cancel_of(trigger("a"))
    assert script.tell(Told(order, T0)) == (Answer(order, CommandResult.UNKNOWN),)
    assert script.host.tombstones == {trigger("a").execution_id: Reason.CANCELLED_BY_USER}
    assert script.tell(Told(order, T0)) == (Answer(order, CommandResult.STALE),)
    (report,) = script.request(trigger("a"), 1)
    assert isinstance(report, Report)
    assert report.word == Cancelled()
    assert not script.host.running


def test_void_is_held_for_what_was_decided() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    order = void_of(trigger("a"))
    assert script.tell(Told(order, at(1))) == (Answer(order, CommandResult.HELD),)
    assert script.tell(Told(void_of(trigger("b")), at(1), known=True))[0].result is CommandResult.HELD  # type: ignore[union-attr]


def test_void_of_an_unknown_run_buries_it() -> None:
    script = Script()
    order = void_of(trigger("a"))
    assert script.tell(Told(order, T0)) == (Answer(order, CommandResult.UNKNOWN),)
    assert skipped(script.request(trigger("a"), 1)).reason is Reason.MISSED
    assert not script.host.running


# --- locks


def test_a_lock_skips_or_queues_and_lets_a_run_go_on() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    order = lock(1)
    assert script.tell(Told(order, at(1))) == (Answer(order, CommandResult.APPLIED),)
    assert script.running() == {trigger("a").execution_id}
    word = skipped(script.request(trigger("b"), 2))
    assert (word.reason, word.message) == (
        Reason.DEVICE_LOCKED,
        "The device was locked by a person: anna, new firmware",
    )
    script.request(trigger("a", 60), 60)
    assert len(script.exit(trigger("a"), 70)) == 1
    assert script.pending() == {trigger("a", 60).execution_id}
    answer, spawn = script.tell(Told(unlock(2), at(80)))
    assert isinstance(answer, Answer)
    assert isinstance(spawn, Spawn)
    assert spawn.run.id == trigger("a", 60).execution_id


def test_a_locked_device_is_waited_for_no_longer_than_allowed() -> None:
    script = Script()
    script.tell(Told(lock(1), T0))
    script.request(trigger("a", max_wait_seconds=60, **QUEUE), 0)
    assert skipped(script.tell(Ticked(at(60)))).reason is Reason.WAITED_TOO_LONG


def test_a_lock_expires_in_database_time() -> None:
    script = Script()
    script.tell(ClockRead(5.0))
    script.tell(Told(lock(1, expires=100), T0))
    script.request(trigger("a", **QUEUE), 0)
    assert script.tell(Ticked(at(94.9))) == ()
    (spawn,) = script.tell(Ticked(at(95)))
    assert isinstance(spawn, Spawn)


def test_a_lock_expires_in_database_time_however_far_off_the_clock_of_the_host_is() -> None:
    script = Script()
    script.tell(Told(lock(1, expires=100), T0))
    script.tell(ClockRead(-86400.0))
    script.tell(Ticked(at(86499)))
    assert script.host.lock_of("stb-1") is not None
    script.tell(Ticked(at(86500)))
    assert script.host.lock_of("stb-1") is None


def test_a_lock_does_not_expire_by_a_clock_that_was_set_since_it_was_read() -> None:
    script = Script()
    script.tell(Told(lock(1, expires=100), T0))
    script.tell(ClockRead(5.0))
    script.tell(ClockSet())
    assert script.host.clock_offset_seconds is None
    script.tell(Ticked(at(86400)))
    assert script.host.lock_of("stb-1") is not None, "the host's clock was set, and nobody knows to what"
    script.tell(ClockRead(5.0))
    script.tell(Ticked(at(94.9)))
    assert script.host.lock_of("stb-1") is not None
    script.tell(Ticked(at(95)))
    assert script.host.lock_of("stb-1") is None


def test_a_lock_expires_by_the_host_while_nothing_is_known_of_its_clock() -> None:
    script = Script()
    script.tell(Told(lock(1, expires=100), T0))
    script.tell(Ticked(at(100)))
    assert script.host.lock_of("stb-1") is None


def test_a_lock_that_comes_twice_does_not_lock_again_what_has_expired() -> None:
    script = Script()
    order = lock(1, expires=100)
    script.tell(Told(order, T0))
    assert script.tell(Told(order, at(1))) == (Answer(order, CommandResult.STALE),)
    script.tell(Ticked(at(100)))
    assert script.tell(Told(order, at(101))) == (Answer(order, CommandResult.STALE),)
    assert script.host.lock_of("stb-1") is None


def test_an_older_lock_or_unlock_is_stale() -> None:
    script = Script()
    script.tell(Told(lock(3), T0))
    assert script.tell(Told(unlock(2), T0)) == (Answer(unlock(2), CommandResult.STALE),)
    script.tell(Told(unlock(4), T0))
    assert script.tell(Told(lock(3), T0)) == (Answer(lock(3), CommandResult.STALE),)
    assert script.host.locks == {"stb-1": DeviceLock(4, held=False)}
    assert isinstance(script.request(trigger("a"))[0], Spawn)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "The device was locked by a person: anna, new firmware"),
        ({"reason": ""}, "The device was locked by a person: anna"),
        (
            {"expires_at": at(100)},
            "The device was locked by a person: anna, new firmware, until 2026-11-23 12:01:40 UTC",
        ),
    ],
)
def test_a_locked_device_names_owner_reason_and_until(given: dict[str, Any], message: str) -> None:
    script = Script()
    script.tell(Told(lock(1).model_copy(update=given), T0))
    assert skipped(script.request(trigger("a"))) == Skipped(Reason.DEVICE_LOCKED, message)


def test_of_many_who_fill_the_host_five_are_named() -> None:
    devices = [f"d{number}" for number in range(8)]
    script = Script(Host(devices=frozenset(devices), max_parallel=7))
    for device in devices[:7]:
        script.request(trigger(f"on {device}", device_id=device))
    message = skipped(script.request(trigger("late", device_id="d7"))).message
    assert message.endswith("(7): on d0 on d0, on d1 on d1, on d2 on d2, on d3 on d3, on d4 on d4, 2 more")


def test_a_lock_that_is_renewed_holds_until_its_new_end() -> None:
    script = Script()
    script.tell(Told(lock(1, expires=100), T0))
    script.request(trigger("a", **QUEUE), 0)
    assert script.tell(Told(lock(2, expires=200), at(50))) == (Answer(lock(2, expires=200), CommandResult.APPLIED),)
    assert script.tell(Ticked(at(199))) == ()
    (spawn,) = script.tell(Ticked(at(200)))
    assert isinstance(spawn, Spawn)
    assert spawn.run.trigger.deployment_name == "a"


def test_a_lock_that_expires_lets_the_longest_waiting_start_and_the_others_wait_on() -> None:
    script = Script()
    script.tell(Told(lock(1, expires=100), T0))
    for name, seconds in (("c", 3), ("a", 2), ("b", 1)):
        script.request(trigger(name, seconds, **QUEUE), 5)
    assert script.tell(Told(cancel_of(trigger("b", 1)), at(6)))[-1].result is CommandResult.APPLIED  # type: ignore[union-attr]
    (spawn,) = script.tell(Ticked(at(100)))
    assert isinstance(spawn, Spawn)
    assert spawn.run.trigger.deployment_name == "a"
    assert script.pending() == {trigger("c", 3).execution_id}


def test_on_a_full_host_a_locked_device_keeps_nobody_elsewhere_from_starting() -> None:
    script = Script(replace(EMPTY, max_parallel=1))
    script.request(trigger("a"), 0)
    script.tell(Told(lock(1, "stb-1"), at(1)))
    script.request(trigger("b", 2, **QUEUE), 2)
    script.request(trigger("c", 3, device_id="stb-2", **QUEUE), 3)
    _, spawn = script.exit(trigger("a"), 9)
    assert isinstance(spawn, Spawn)
    assert spawn.run.trigger.deployment_name == "c", "b waits longer, but for a device that is locked"


# --- sync


def sync(
    seconds: float = 0,
    *,
    epoch: int = 1,
    fences: tuple[FenceState, ...] = (),
    locks: tuple[LockState, ...] = (),
) -> Sync:
    return Sync(
        command_id=COMMAND,
        host="lab-1",
        ledger_epoch=epoch,
        fences=fences,
        locks=locks,
        host_sent_at=at(seconds),
        db_time=at(seconds),
    )


def lock_state(version: int, device: str = "stb-1") -> LockState:
    return LockState(device_id=device, lock_version=version, owner="anna", reason="new firmware", since=T0)


def test_a_sync_raises_fences_sets_locks_and_empties_slots() -> None:
    script = Script()
    script.request(trigger("a"), 0)
    script.request(trigger("a", 60), 60)
    state = FenceState(deployment_id=deployment("a"), ledger_epoch=1, version=3, reason=Reason.DELETED)
    order = sync(61, fences=(state,), locks=(lock_state(2, "stb-2"),))
    report, answer = script.tell(Told(order, at(61)))
    assert isinstance(report, Report)
    assert report.word == Skipped(Reason.DELETED, "The deployment was deleted")
    assert answer == Answer(order, CommandResult.APPLIED)
    assert script.host.fences == {deployment("a"): FenceMark(1, 3, Reason.DELETED)}
    assert script.host.lock_of("stb-2") is not None
    assert (script.host.ledger_epoch, script.host.synced_at) == (1, at(61))


def test_a_sync_without_a_lock_releases_it_but_not_one_taken_since() -> None:
    script = Script()
    script.tell(Told(lock(1, "stb-1"), T0))
    script.tell(Told(lock(1, "stb-2").model_copy(update={"since": at(20)}), at(20)))
    script.request(trigger("a", **QUEUE), 1)
    _, spawn = script.tell(Told(sync(10), at(21)))
    assert isinstance(spawn, Spawn)
    assert script.host.lock_of("stb-1") is None
    assert script.host.lock_of("stb-2") is not None


def test_an_older_sync_is_stale_and_a_new_epoch_is_believed() -> None:
    script = Script()
    script.tell(Told(sync(10, epoch=2, locks=(lock_state(9),)), at(10)))
    before = script.host
    for order in (sync(5, epoch=2), sync(20, epoch=1)):
        assert script.tell(Told(order, at(21))) == (Answer(order, CommandResult.STALE),)
        assert script.host is before
    script.tell(Told(sync(5, epoch=3, locks=(lock_state(2),)), at(22)))
    assert script.host.locks["stb-1"].version == 2
    assert script.host.ledger_epoch == 3


def test_resend_sends_again() -> None:
    order = Resend(command_id=COMMAND, host="lab-1", from_sequence=7)
    assert Script().tell(Told(order, T0)) == (SendAgain(7), Answer(order, CommandResult.APPLIED))
