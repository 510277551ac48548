"""The simulator finds what is broken: each of these faults of the product, put in on purpose, breaks an invariant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from libs.contracts import CommandResult, ExecutionStatus, may_follow
from libs.contracts.commands import Void
from services.api.core import projection
from services.host_runner.core import decide as core
from services.host_runner.core.host import Host, Run
from services.host_runner.core.vocabulary import Answer, Finished, Report, RunExited
from tests.simulation import scripts
from tests.simulation.broker import Receipt
from tests.simulation.drain import Drains
from tests.simulation.host import Machine
from tests.simulation.ingest import Ingest
from tests.simulation.journal import MemoryJournal
from tests.simulation.ledger import Ledger
from tests.simulation.quiet import be_quiet
from tests.simulation.run import run
from tests.simulation.scheduler import Schedulers
from tests.simulation.sweep import Sweep
from tests.simulation.trouble import Trouble, astray, deaf, dying, forgetful, worse

FIRES = 1200
SEEDS = range(11, 21)
"""Always the same, so that what was found once is found again."""

Patch = pytest.MonkeyPatch
_refusal, _obstacle = core._refusal, core._obstacle


def host_forgets_what_it_decided(patch: Patch) -> None:
    patch.setattr(MemoryJournal, "knows", lambda *_: False)


def host_acknowledges_before_it_writes(patch: Patch) -> None:
    write_down, acknowledge = Machine.write_down, Machine.acknowledge

    def first_acknowledge(self: Machine, letter: Any) -> Any:
        consumer = next(each for each in self._consumers if letter in each.queue.unacked)
        acknowledge(self, consumer, letter)
        life = self.life
        return () if self._dies("written", life) else write_down(self, letter)

    patch.setattr(Machine, "write_down", first_acknowledge)
    patch.setattr(Machine, "acknowledge", lambda *_: None)


def host_acknowledges_early_and_no_trigger_is_sent_again(patch: Patch) -> None:
    host_acknowledges_before_it_writes(patch)
    patch.setattr(Sweep, "is_to_be_sent_again", lambda *_: False)


def host_acknowledges_early_and_no_command_is_sent_again(patch: Patch) -> None:
    host_acknowledges_before_it_writes(patch)
    unanswered_commands_are_not_sent_again(patch)


def host_does_not_look_at_fences(patch: Patch) -> None:
    patch.setattr(core, "_refusal", lambda host, run, now: _refusal(replace(host, fences={}), run, now))


def host_does_not_look_at_tombstones(patch: Patch) -> None:
    patch.setattr(core, "_refusal", lambda host, run, now: _refusal(replace(host, tombstones={}), run, now))


def host_answers_a_void_and_forgets_it(patch: Patch) -> None:
    def no_tombstone(host: Host, void: Void, *, known: bool) -> Any:
        held = known or host.find(void.execution_id) is not None
        return host, (Answer(void, CommandResult.HELD if held else CommandResult.UNKNOWN),)

    patch.setattr(core, "_void", no_tombstone)


def host_does_not_look_at_the_slot(patch: Patch) -> None:
    patch.setattr(core, "_refusal", lambda host, run, now: _refusal(replace(host, pending={}), run, now))


def host_does_not_look_at_the_device(patch: Patch) -> None:
    def free(_host: Host, _run: Run) -> None:
        return None

    patch.setattr(core, "_obstacle", free)


def two_shims_start_one_execution(patch: Patch) -> None:
    patch.setattr(scripts, "ONE_START_MARK", False)


def journal_loses_its_events_in_a_crash(patch: Patch) -> None:
    load = MemoryJournal.load

    def without_events(self: MemoryJournal, devices: frozenset[str], max_parallel: int) -> Host:
        for number in self._unconfirmed:
            del self._events[number]
            self._confirmed_at.pop(number, None)
        self._unconfirmed.clear()
        return load(self, devices, max_parallel)

    patch.setattr(MemoryJournal, "load", without_events)


def journal_loses_who_runs_in_a_crash(patch: Patch) -> None:
    load = MemoryJournal.load
    patch.setattr(MemoryJournal, "load", lambda *given: replace(load(*given), running={}))


def a_fact_moves_a_row_wherever_it_stands(patch: Patch) -> None:
    patch.setattr(projection, "_is_further_on", lambda *_: True)


def presumed_endings_are_final(patch: Patch) -> None:

    def never_back(current: ExecutionStatus, following: ExecutionStatus, *, presumed: bool) -> bool:
        return may_follow(current, following, presumed=False)

    patch.setattr(projection, "may_follow", never_back)


def the_limit_does_not_count_what_is_under_way(patch: Patch) -> None:
    patch.setattr(Ledger, "in_flight", lambda *_: 0)


def the_outbox_is_marked_without_a_confirm(patch: Patch) -> None:
    patch.setattr(Drains, "is_sent", staticmethod(lambda receipt: receipt is not Receipt.RETURNED))
    patch.setattr(Sweep, "is_to_be_sent_again", lambda *_: False)


def nothing_held_is_released(patch: Patch) -> None:
    patch.setattr(Schedulers, "release", lambda *_: None)


def the_ingest_acknowledges_before_it_commits(patch: Patch) -> None:
    commit = Ingest.commit

    def first_acknowledge(self: Ingest, worker: Any, letters: Any) -> None:
        self._broker.queues[worker.queue].acked(worker, letters)
        commit(self, worker, letters)

    patch.setattr(Ingest, "commit", first_acknowledge)


def the_ingest_acknowledges_early_and_no_host_is_asked_again(patch: Patch) -> None:
    the_ingest_acknowledges_before_it_commits(patch)
    hosts_are_not_asked_for_what_was_lost(patch)
    a_run_that_is_held_is_not_asked_for(patch)


def an_ended_run_keeps_its_place(patch: Patch) -> None:
    def never_leaves(host: Host, event: RunExited) -> Any:
        run = host.find(event.execution_id)
        return (host, ()) if run is None else (host, (Report(run, Finished(event.outcome)),))

    patch.setattr(core, "_exited", never_leaves)


def a_fire_in_the_middle_is_dropped(patch: Patch) -> None:
    write_fires = Ledger.write_fires
    patch.setattr(Ledger, "write_fires", lambda self, one, fires: write_fires(self, one, fires[-1:]))


def unanswered_commands_are_not_sent_again(patch: Patch) -> None:
    patch.setattr(Sweep, "is_command_to_be_sent_again", lambda *_: False)


def hosts_are_not_asked_for_what_was_lost(patch: Patch) -> None:
    patch.setattr(Sweep, "is_unsaid", lambda *_: False)


def a_run_that_is_held_is_not_asked_for(patch: Patch) -> None:
    patch.setattr(Ingest, "is_unheard", lambda *_: False)


def what_comes_back_is_given_up_at_once(patch: Patch) -> None:
    patch.setattr(Drains, "hopeless", lambda _self, _who, _tried, returned: frozenset(returned))


FAULTS: dict[Callable[[Patch], None], tuple[Callable[[], Trouble], set[str]]] = {
    host_forgets_what_it_decided: (worse, {"I4", "I6"}),
    host_acknowledges_early_and_no_trigger_is_sent_again: (dying, {"I1"}),
    host_acknowledges_early_and_no_command_is_sent_again: (dying, {"I4", "I5", "I7"}),
    host_does_not_look_at_fences: (astray, {"I1"}),
    host_does_not_look_at_tombstones: (astray, {"I4"}),
    host_answers_a_void_and_forgets_it: (astray, {"I4"}),
    host_does_not_look_at_the_slot: (worse, {"I1", "I2", "I4", "I7"}),
    host_does_not_look_at_the_device: (worse, {"I3"}),
    two_shims_start_one_execution: (worse, {"I6"}),
    journal_loses_its_events_in_a_crash: (worse, {"I4", "I5", "I7"}),
    journal_loses_who_runs_in_a_crash: (worse, {"I2", "I3", "I4", "I5", "I7"}),
    a_fact_moves_a_row_wherever_it_stands: (worse, {"I4"}),
    presumed_endings_are_final: (worse, {"I4"}),
    the_limit_does_not_count_what_is_under_way: (worse, {"I5"}),
    the_outbox_is_marked_without_a_confirm: (worse, {"I1"}),
    nothing_held_is_released: (worse, {"I7"}),
    the_ingest_acknowledges_early_and_no_host_is_asked_again: (deaf, {"I4", "I5", "I7"}),
    an_ended_run_keeps_its_place: (worse, {"I2", "I4", "I7"}),
    a_fire_in_the_middle_is_dropped: (worse, {"I1"}),
    unanswered_commands_are_not_sent_again: (forgetful, {"I4", "I5", "I7"}),
    hosts_are_not_asked_for_what_was_lost: (forgetful, {"I7"}),
    a_run_that_is_held_is_not_asked_for: (forgetful, {"I4", "I5"}),
    what_comes_back_is_given_up_at_once: (forgetful, {"I1"}),
}
"""Each with the trouble in which it shows, and with what it may break."""

HARMLESS: dict[Callable[[Patch], None], Callable[[], Trouble]] = {
    # What a dead runner had acknowledged and not written is sent again, trigger or command: the two faults above that
    # take this away are found.
    host_acknowledges_before_it_writes: dying,
    # What was acknowledged and not folded, the host is asked for.
    the_ingest_acknowledges_before_it_commits: deaf,
    # While runners only die, nothing that was answered for is lost: it takes both.
    unanswered_commands_are_not_sent_again: dying,
}
"""Faults that another mechanism makes good, with the trouble in which it does."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    be_quiet()
    fault(monkeypatch)
    trouble, invariants = FAULTS[fault]
    for seed in SEEDS:
        broken = run(seed, FIRES, trouble).broken
        if broken is not None:
            assert broken.invariant in invariants, broken
            return
    pytest.fail(f"{fault.__name__} was not found in {len(SEEDS)} worlds")


@pytest.mark.parametrize("fault", HARMLESS, ids=lambda fault: fault.__name__)
def test_a_fault_is_made_good(fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    be_quiet()
    fault(monkeypatch)
    done = run(SEEDS[0], FIRES, HARMLESS[fault])
    assert done.broken is None, done.complaint()


@pytest.mark.parametrize("trouble", [worse, astray, forgetful], ids=lambda trouble: trouble.__name__)
def test_without_a_fault_nothing_is_found(trouble: Callable[[], Trouble]) -> None:
    be_quiet()
    done = run(SEEDS[0], FIRES, trouble)
    assert done.broken is None, done.complaint()
