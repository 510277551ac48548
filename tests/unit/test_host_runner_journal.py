"""The journal on a real SQLite file: what is written is found again, whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from libs.contracts import Cancel, ExecutionFact, HostEvent, Reason
from services.host_runner.core.decide import decide
from services.host_runner.core.facts import Identity, Stamp, fact
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import (
    Command,
    Event,
    Report,
    RunExited,
    RunRequested,
    RunStarted,
    SendAgain,
    Told,
)
from services.host_runner.journal import Journal
from tests.support.host_runner import T0, at, deployment, fence, lock, trigger, unlock
from tests.support.outcomes import a_success

DEVICES = frozenset({"stb-1", "stb-2"})
FRESH = UUID("11111111-1111-4111-8111-111111111111")
RUNNER = UUID("22222222-2222-4222-8222-222222222222")


class Desk:
    """A journal with a host on it: `tell` decides and records."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path, fresh_id=FRESH)
        self.host = self.journal.load(DEVICES, 2)
        self.identity = Identity("lab-1", self.journal.id, RUNNER)

    def tell(self, event: Event, seconds: float = 0) -> tuple[Command, ...]:
        after, commands = decide(self.host, event)
        self.record(after, commands, seconds)
        return commands

    def record(self, after: Host, commands: tuple[Command, ...], seconds: float = 0) -> None:
        stamp = Stamp(at(seconds), None)
        sayings: list[Callable[[int], HostEvent]] = [
            partial(fact, one, self.identity, stamp) for one in commands if isinstance(one, Report)
        ]
        self.journal.record(self.host, after, commands, sayings, at(seconds))
        self.host = after


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "journal.sqlite")
    yield desk
    desk.journal.close()


def reopened(desk: Desk, tmp_path: Path) -> Host:
    """The host as another process finds it, while the first has not even closed: as after a kill."""
    other = Journal(tmp_path / "journal.sqlite", fresh_id=RUNNER)
    try:
        assert other.id == desk.journal.id
        return other.load(DEVICES, 2)
    finally:
        other.close()


def test_the_whole_state_is_found_again(desk: Desk, tmp_path: Path) -> None:
    desk.tell(RunRequested(trigger("a"), False, at(0)))
    desk.tell(RunStarted(trigger("a").execution_id, at(0.5), at(0.6)))
    desk.tell(RunRequested(trigger("a", 60), False, at(60.25)))
    desk.tell(RunRequested(trigger("b", 61, on_device_busy="queue"), False, at(61)))
    desk.tell(Told(fence("c", 4, Reason.STOPPED), at(62)))
    desk.tell(Told(lock(1, "stb-2", expires=900), at(63)))
    desk.tell(Told(lock(1, "stb-1"), at(63)))
    desk.tell(Told(unlock(2, "stb-1"), at(64)))
    assert desk.host.running
    assert len(desk.host.pending) == 2
    assert reopened(desk, tmp_path) == desk.host


def test_an_end_and_the_start_that_it_allows_are_one_step(desk: Desk, tmp_path: Path) -> None:
    first, second = trigger("a"), trigger("a", 60)
    desk.tell(RunRequested(first, False, at(0)))
    desk.tell(RunRequested(second, False, at(60)))
    desk.tell(RunExited(first.execution_id, at(1), a_success(at(70)), at(70)))
    host = reopened(desk, tmp_path)
    assert [run.id for run in host.running.values()] == [second.execution_id]
    assert not host.pending
    assert desk.journal.knows(first.execution_id)
    kinds = [event.envelope.type for event in desk.journal.unsent(10)]
    assert kinds == ["execution.queued.v1", "execution.started.v1", "execution.finished.v1"]


def test_what_was_skipped_is_known_too(desk: Desk) -> None:
    one = trigger("a", device_id="stb-9")
    assert not desk.journal.knows(one.execution_id)
    desk.tell(RunRequested(one, False, at(0)))
    assert desk.journal.knows(one.execution_id)


def test_a_decision_that_cannot_be_said_is_not_made(desk: Desk, tmp_path: Path) -> None:
    before = desk.host
    after, commands = decide(before, RunRequested(trigger("a"), False, at(0)))

    def broken(_: int) -> ExecutionFact:
        raise ValueError("no such words")

    with pytest.raises(ValueError, match="no such words"):
        desk.journal.record(before, after, commands, [broken], at(0))
    assert reopened(desk, tmp_path) == before
    assert not desk.journal.knows(trigger("a").execution_id)
    desk.record(after, commands)
    assert reopened(desk, tmp_path) == after


def test_two_running_of_one_deployment_cannot_be_written(desk: Desk) -> None:
    desk.tell(RunRequested(trigger("a"), False, at(0)))
    run = desk.host.running[deployment("a")]
    other = Host(devices=DEVICES, max_parallel=2, running={deployment("a"): run.__class__(trigger("a", 60), at(60))})
    with pytest.raises(sqlite3.IntegrityError):
        desk.journal.record(desk.host, other, (), [], at(60))


def test_events_are_numbered_without_a_gap_and_keep_their_ids(desk: Desk, tmp_path: Path) -> None:
    for seconds in (0, 60, 120, 180):
        desk.tell(RunRequested(trigger("a", seconds), False, at(seconds)))
    unsent = desk.journal.unsent(10)
    assert [event.sequence for event in unsent] == [1, 2, 3]
    assert [json.loads(event.envelope.body)["sequence"] for event in unsent] == [1, 2, 3]
    assert [event.envelope.message_id for event in unsent] == [f"{FRESH}:{number}" for number in (1, 2, 3)]
    assert [event.envelope.routing_key for event in unsent] == ["lab-1.queued", "lab-1.skipped", "lab-1.skipped"]
    desk.journal.confirmed([1, 3], at(200))
    assert [event.sequence for event in desk.journal.unsent(10)] == [2]
    assert desk.journal.count_unsent() == 1
    desk.record(desk.host, (SendAgain(2),))
    assert [event.envelope for event in desk.journal.unsent(10)] == [event.envelope for event in unsent[1:]]
    other = Journal(tmp_path / "journal.sqlite", fresh_id=RUNNER)
    host = other.load(DEVICES, 2)
    after, (report,) = decide(host, RunRequested(trigger("a", 240), False, at(240)))
    assert isinstance(report, Report)
    other.record(host, after, (report,), [partial(fact, report, desk.identity, Stamp(at(240), None))], at(240))
    assert other.unsent(10)[-1].sequence == 4
    other.close()


def test_what_is_forgotten_is_refused_from_then_on(desk: Desk, tmp_path: Path) -> None:
    one = trigger("a", device_id="stb-9")
    desk.tell(RunRequested(one, False, at(0)))
    desk.journal.confirmed([1], at(1))
    early = one.not_after + timedelta(days=7)
    desk.journal.forget(early, early)
    assert desk.journal.knows(one.execution_id)
    late = early + timedelta(seconds=1)
    horizon = desk.journal.forget(late, late)
    assert not desk.journal.knows(one.execution_id)
    assert horizon > one.not_after
    assert reopened(desk, tmp_path).forgotten_before == horizon
    # A clock that goes back does not bring the forgotten back.
    back = late - timedelta(days=6)
    assert desk.journal.forget(back, back) == horizon


def test_what_a_wrong_clock_once_forgot_does_not_refuse_the_future(desk: Desk, tmp_path: Path) -> None:
    wrong = T0 + timedelta(days=3650)
    desk.journal.forget(wrong, wrong)
    assert desk.journal.forget(T0, T0) == T0
    assert reopened(desk, tmp_path).forgotten_before == T0


def test_running_and_unconfirmed_is_never_forgotten(desk: Desk, tmp_path: Path) -> None:
    desk.tell(RunRequested(trigger("a"), False, at(0)))
    desk.tell(RunRequested(trigger("a", 60), False, at(60)))
    years = T0 + timedelta(days=900)
    desk.journal.forget(years, years)
    assert len(list(reopened(desk, tmp_path).held())) == 2
    assert desk.journal.count_unsent() == 1


def test_a_cancel_request_outlives_the_process(desk: Desk, tmp_path: Path) -> None:
    one = trigger("a")
    desk.tell(RunRequested(one, False, at(0)))
    cancel = Cancel(command_id=RUNNER, host="lab-1", execution_id=one.execution_id, deployment_id=one.deployment_id)
    desk.tell(Told(cancel, at(1)))
    assert reopened(desk, tmp_path).running[deployment("a")].cancel_requested


def test_files_may_go_when_log_and_artifacts_are_sent_and_the_events_are_confirmed(desk: Desk) -> None:
    one = trigger("a")
    desk.tell(RunRequested(one, False, at(0)))
    (log,) = desk.journal.open_logs()
    assert (log.execution_id, log.sent, log.size) == (one.execution_id, 0, None)
    desk.tell(RunExited(one.execution_id, at(1), a_success(at(5)), at(5)), 5)
    (log,) = desk.journal.open_logs()
    assert log.size == a_success(at(5)).log_bytes
    desk.journal.log_sent(one.execution_id, 7)
    assert desk.journal.open_logs()[0].sent == 7
    assert desk.journal.removable(at(10)) == []
    desk.journal.log_done(one.execution_id)
    assert desk.journal.open_logs() == []
    assert desk.journal.removable(at(10)) == []
    desk.journal.confirmed([1, 2], at(6))
    assert desk.journal.removable(at(10)) == []
    assert [folder.execution_id for folder in desk.journal.artifacts.folders(9)] == [one.execution_id]
    desk.journal.artifacts.done(one.execution_id)
    assert desk.journal.removable(at(5)) == []
    assert desk.journal.removable(at(10)) == [one.execution_id]
    desk.journal.removed(one.execution_id)
    assert desk.journal.removable(at(10)) == []


def test_the_settings_that_make_it_durable_are_on(desk: Desk, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    other.close()
    assert desk.journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2
