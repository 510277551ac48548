"""The lines that people of the lab know, to the letter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.contracts import Cancel, Change, ExecutionStatus, Reason, Trigger
from services.host_runner.core.outcome import Outcome
from services.host_runner.core.vocabulary import RunExited, RunRequested, Told
from services.host_runner.deployments_log import REMEMBERED_NOTICES, DeploymentsLog
from tests.support.desk import Desk, notice, state
from tests.support.host_runner import T0, at, deployment, fence, lock, trigger
from tests.support.outcomes import a_failure, a_success


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.log.close()


# --- the samples of the owner's description, byte for byte

START_UP = """\
2025-10-16 14:00:00 [INFO] === DEPLOYMENT SCHEDULER STARTING === Host: host-01
2025-10-16 14:00:00 [INFO] 
2025-10-16 14:00:00 [INFO] ================================================================================
2025-10-16 14:00:00 [INFO]                                  DEPLOYMENTS                                   
2025-10-16 14:00:00 [INFO] ================================================================================
2025-10-16 14:00:00 [INFO] Active: 2
2025-10-16 14:00:00 [INFO] 
2025-10-16 14:00:00 [INFO] • login_test_device1_2025-10-15
2025-10-16 14:00:00 [INFO]   Last execution:  2025-10-16 13:50:00 UTC
2025-10-16 14:00:00 [INFO]   Next execution:  2025-10-16 14:10:00 UTC
2025-10-16 14:00:00 [INFO]   Frequency:       */10 * * * *
2025-10-16 14:00:00 [INFO]   Executions:      15/∞
2025-10-16 14:00:00 [INFO] 
2025-10-16 14:00:00 [INFO] • checkout_test_device2_2025-10-15
2025-10-16 14:00:00 [INFO]   Last execution:  2025-10-16 13:45:00 UTC
2025-10-16 14:00:00 [INFO]   Next execution:  2025-10-16 14:15:00 UTC
2025-10-16 14:00:00 [INFO]   Frequency:       */30 * * * *
2025-10-16 14:00:00 [INFO]   Executions:      8/20
2025-10-16 14:00:00 [INFO] 
2025-10-16 14:00:00 [INFO] ================================================================================
"""  # noqa: W291 - its trailing spaces, too

DURING_EXECUTION = """\
2025-10-16 14:10:00 [INFO] ⚡ TRIGGERED: login_test_device1 | Time: 2025-10-16 14:10:00 UTC
2025-10-16 14:10:00 [INFO] ▶️  EXECUTING: login_test_device1 | Script: test_login.py | Device: emulator-5554
2025-10-16 14:12:15 [INFO] ✅ COMPLETED: login_test_device1 | Duration: 135.2s | Success: True | Executions: 16/∞
"""

WITH_QUEUE = """\
2025-10-16 14:10:00 [INFO] ⚡ TRIGGERED: login_test_device1 | Time: 2025-10-16 14:10:00 UTC
2025-10-16 14:10:00 [INFO] ▶️  EXECUTING: login_test_device1 | Script: test_login.py | Device: emulator-5554
2025-10-16 14:11:00 [INFO] ⚡ TRIGGERED: login_test_device1 | Time: 2025-10-16 14:11:00 UTC
2025-10-16 14:11:00 [INFO] ⏳ QUEUED: login_test_device1 | Will run after current execution
2025-10-16 14:12:00 [WARN] ⏭️  SKIPPED: login_test_device1 | Already queued (max 1)
2025-10-16 14:12:15 [INFO] ✅ COMPLETED: login_test_device1 | Duration: 135.2s | Success: True | Executions: 16/∞
2025-10-16 14:12:15 [INFO] 🔄 EXECUTING QUEUED: login_test_device1 | Queued at: 2025-10-16 14:11:00
2025-10-16 14:14:30 [INFO] ✅ COMPLETED: login_test_device1 | Duration: 135.0s | Success: True | Executions: 17/∞
"""


def clock(time: str) -> datetime:
    """That time on the day of the samples."""
    return datetime.fromisoformat(f"2025-10-16 {time}").replace(tzinfo=UTC)


def fire(time: str) -> Trigger:
    seconds = (clock(time) - T0).total_seconds()
    given: dict[str, Any] = {"device_id": "emulator-5554", "script_name": "test_login.py", "execution_count": 15}
    return trigger("login_test_device1", seconds, **given)


def request(desk: Desk, time: str) -> Trigger:
    one = fire(time)
    desk.tell(RunRequested(one, False, clock(time)), clock(time))
    return one


def succeed(desk: Desk, one: Trigger, time: str, seconds: float) -> None:
    outcome = replace(a_success(clock(time)), duration_seconds=seconds)
    desk.tell(RunExited(one.execution_id, None, outcome, clock(time)), clock(time))


def test_the_start_up_block(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    login = state(
        "login_test_device1_2025-10-15",
        last_executed_at=clock("13:50:00"),
        next_fire_at=clock("14:10:00"),
        execution_count=15,
    )
    checkout = state(
        "checkout_test_device2_2025-10-15",
        "*/30 * * * *",
        last_executed_at=clock("13:45:00"),
        next_fire_at=clock("14:15:00"),
        execution_count=8,
        max_executions=20,
    )
    desk.log.synced([checkout, state("resting", status="paused"), login], clock("14:00:00"))
    assert desk.text() == START_UP
    assert capsys.readouterr().out == START_UP


def test_during_execution(desk: Desk) -> None:
    one = request(desk, "14:10:00")
    succeed(desk, one, "14:12:15", 135.2)
    assert desk.text() == DURING_EXECUTION


def test_with_queue(desk: Desk) -> None:
    first, second, _ = (request(desk, time) for time in ("14:10:00", "14:11:00", "14:12:00"))
    succeed(desk, first, "14:12:15", 135.2)
    succeed(desk, second, "14:14:30", 135.0)
    assert desk.text() == WITH_QUEUE


# --- more of runs


def test_a_failure_is_followed_by_the_queue_too(desk: Desk) -> None:
    first, second = trigger("login", 0), trigger("login", 60)
    for one in (first, second):
        desk.tell(RunRequested(one, False, one.scheduled_at))
    desk.tell(RunExited(first.execution_id, None, a_failure(at(135)), at(135)))
    assert desk.lines()[-2:] == [
        "[INFO] ❌ COMPLETED: login | Duration: 1.0s | Success: False | Executions: 1/∞",
        "[INFO] 🔄 EXECUTING QUEUED: login | Queued at: 2026-11-23 12:01:00",
    ]


def test_a_redelivery_says_nothing(desk: Desk) -> None:
    desk.tell(RunRequested(trigger("login"), True, at(0)))
    assert desk.lines() == []


def test_fences_and_locks_say_why(desk: Desk) -> None:
    desk.tell(Told(lock(1), at(0)))
    desk.tell(RunRequested(trigger("login"), False, at(1)))
    desk.tell(Told(fence("login", 2, Reason.PAUSED), at(2)))
    desk.tell(RunRequested(trigger("login", 5), False, at(5)))
    assert desk.lines() == [
        "[WARN] ⏭️  SKIPPED: login | The device was locked by a person: anna, new firmware",
        "[WARN] ⏭️  SKIPPED: login | The deployment was paused",
    ]


def test_what_waits_says_for_what(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_parallel=1)
    desk.tell(RunRequested(trigger("login"), False, at(0)))
    for name, device in (("same", "stb-1"), ("other", "emulator-5554")):
        desk.tell(RunRequested(trigger(name, 1, device_id=device, on_device_busy="queue"), False, at(1)))
    desk.log.close()
    assert [line for line in desk.lines() if "QUEUED" in line] == [
        "[INFO] ⏳ QUEUED: same | Will run when stb-1 is free",
        "[INFO] ⏳ QUEUED: other | Will run when another script on this host has ended",
    ]


@pytest.mark.parametrize(
    ("reason", "is_error"),
    [
        (Reason.TIMED_OUT, True),
        (Reason.SILENT, True),
        (Reason.SIGNALLED, True),
        (Reason.INTERRUPTED, True),
        (Reason.SCRIPT_NOT_FOUND, True),
        (Reason.SPAWN_FAILED, True),
        (Reason.INVALID_PARAMETERS, True),
        (Reason.EXIT_CODE, False),
        (Reason.SCRIPT_REPORTED_FAILURE, False),
    ],
)
def test_what_the_script_did_not_end_itself_is_an_error(desk: Desk, reason: Reason, is_error: bool) -> None:
    one = trigger("login")
    desk.tell(RunRequested(one, False, at(0)))
    outcome = Outcome(ExecutionStatus.FAILED, at(2), reason=reason, message="why", success=False, duration_seconds=2.04)
    desk.tell(RunExited(one.execution_id, None, outcome, at(2)))
    assert desk.lines()[2:] == [
        *(["[ERROR] 💥 ERROR: login | why"] if is_error else []),
        "[INFO] ❌ COMPLETED: login | Duration: 2.0s | Success: False | Executions: 1/∞",
    ]


def test_who_was_cancelled_before_the_start_is_not_counted_and_who_was_after_is(desk: Desk) -> None:
    first, second, third = (trigger("login", seconds) for seconds in (0, 60, 120))
    for one in (first, second):
        desk.tell(RunRequested(one, False, one.scheduled_at))
    cancel = Cancel(
        command_id=deployment("x"), host="lab-1", execution_id=second.execution_id, deployment_id=deployment("login")
    )
    desk.tell(Told(cancel, at(61)))
    cancelled = Outcome(ExecutionStatus.CANCELLED, at(90), reason=Reason.CANCELLED_BY_USER, message="It was cancelled")
    desk.tell(RunExited(first.execution_id, None, replace(cancelled, duration_seconds=90.0), at(90)))
    desk.tell(RunRequested(third, False, at(120)))
    desk.tell(RunExited(third.execution_id, None, cancelled, at(121)))
    assert [line for line in desk.lines() if "ING" not in line and "TRIGGERED" not in line] == [
        "[INFO] ⏳ QUEUED: login | Will run after current execution",
        "[WARN] ⏭️  SKIPPED: login | It was cancelled",
        "[INFO] ❌ COMPLETED: login | Duration: 90.0s | Success: False | Executions: 1/∞",
        "[WARN] ⏭️  SKIPPED: login | It was cancelled",
    ]


# --- notices

STATUS = Change.STATUS


@pytest.mark.parametrize(
    ("change", "given", "lines"),
    [
        (Change.CREATED, {}, ["[INFO] ➕ ADDED: login | Cron: */10 * * * * | Device: stb-1"]),
        (
            Change.CREATED,
            {"timezone": "Europe/Berlin", "max_executions": 20, "by": "ada"},
            ["[INFO] ➕ ADDED: login | Cron: */10 * * * * (Europe/Berlin) | Device: stb-1 | Executions: 0/20 | by ada"],
        ),
        (
            Change.EDITED,
            {"execution_count": 3, "by": "ada", "message": "limit 20"},
            ["[INFO] 🔄 EDITED: login | Cron: */10 * * * * | Executions: 3/∞ | by ada: limit 20"],
        ),
        (Change.DELETED, {"by": "ada"}, ["[INFO] 🔄 REMOVED: login | by ada"]),
        (
            STATUS,
            {"status": "paused", "by": "ada", "message": "new firmware"},
            ["[INFO] 🔄 STATUS: login | paused | by ada: new firmware"],
        ),
        (STATUS, {"status": "active", "by": "ada"}, ["[INFO] 🔄 STATUS: login | resumed | by ada"]),
        (STATUS, {"status": "stopped", "message": "done"}, ["[INFO] 🔄 STATUS: login | stopped | done"]),
        (
            STATUS,
            {"status": "completed", "execution_count": 20, "max_executions": 20},
            [
                "[WARN] ⚠️  CONSTRAINT: login | The limit of executions was reached (20/20)",
                "[INFO] 🔄 STATUS: login | completed",
            ],
        ),
        (
            STATUS,
            {"status": "expired"},
            [
                "[WARN] ⚠️  CONSTRAINT: login | The end date of the deployment was reached",
                "[INFO] 🔄 STATUS: login | expired",
            ],
        ),
        (
            Change.SKIPPED,
            {"message": "The runs that are still under way may use up the limit"},
            ["[WARN] ⏭️  SKIPPED: login | The runs that are still under way may use up the limit"],
        ),
    ],
)
def test_a_notice_is_a_line_and_the_same_one_again_is_none(
    desk: Desk, change: Change, given: dict[str, Any], lines: list[str]
) -> None:
    for _ in range(2):
        desk.log.noticed(notice("login", change, **given), at(0))
    assert desk.lines() == lines


def test_so_many_notices_are_remembered_and_no_more(desk: Desk) -> None:
    for number in range(REMEMBERED_NOTICES + 1):
        desk.log.noticed(notice("login", STATUS, message=str(number)), at(0))
    desk.log.noticed(notice("login", STATUS, message=str(REMEMBERED_NOTICES)), at(0))
    assert len(desk.lines()) == REMEMBERED_NOTICES + 1
    desk.log.noticed(notice("login", STATUS, message="0"), at(0))
    assert len(desk.lines()) == REMEMBERED_NOTICES + 2


def test_the_count_follows_what_the_centre_tells_and_never_goes_back(desk: Desk) -> None:
    def run(seconds: float) -> str:
        one = trigger("login", seconds, execution_count=0, max_executions=20)
        desk.tell(RunRequested(one, False, at(seconds)))
        desk.log.noticed(changed, at(seconds))
        desk.tell(RunExited(one.execution_id, None, a_success(at(seconds)), at(seconds)))
        return desk.lines()[-1].rpartition(" ")[2]

    changed = notice("login", Change.EDITED, execution_count=7, max_executions=30)
    assert run(0) == "8/30", "edited while it ran"
    assert run(60) == "9/20", "the newest word about the limit came with the trigger"
    desk.log.synced([state("login", execution_count=5, max_executions=None)], at(70))
    desk.log.synced([state("login", execution_count=6, max_executions=40)], at(80))
    assert sum("STARTING" in line for line in desk.lines()) == 1, "one start, one block"
    changed = notice("login", Change.EDITED, execution_count=1, max_executions=40)
    assert run(120) == "10/40"


# --- what people type


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\n2026-11-23 12:00:00 [INFO] ⚡ TRIGGERED: b", r"a\n2026-11-23 12:00:00 [INFO] ⚡ TRIGGERED: b"),
        ("a\r\x0b\x0c\x1c\x85b", r"a\r\x0b\x0c\x1c\x85b"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("\u202etac", r"\u202etac"),
        ("nul\0\x7f\x9b", r"nul\x00\x7f\x9b"),
        ("📺 тест شاشة 👩‍🔬 100%s %(x)d", "📺 тест شاشة 👩‍🔬 100%s %(x)d"),
    ],
)
def test_a_name_breaks_and_forges_no_line(
    desk: Desk, capsys: pytest.CaptureFixture[str], name: str, shown: str
) -> None:
    desk.tell(RunRequested(trigger(name), False, at(0)))
    desk.log.noticed(notice(name, Change.EDITED, by=name, message=name), at(0))
    desk.log.synced([state(name)], at(0))
    lines = desk.text().splitlines()
    assert all(line.startswith("2026-11-23 12:00:00 [INFO] ") for line in lines), lines
    assert lines[0] == f"2026-11-23 12:00:00 [INFO] ⚡ TRIGGERED: {shown} | Time: 2026-11-23 12:00:00 UTC"
    assert lines[2].endswith(f"| by {shown}: {shown}")
    assert f"2026-11-23 12:00:00 [INFO] • {shown}" in lines
    assert capsys.readouterr().out.splitlines() == lines[3:]


# --- the file


def test_a_log_that_cannot_be_opened_is_replaced(tmp_path: Path) -> None:
    log = DeploymentsLog(tmp_path / "no such folder" / "deployments.log", tmp_path, "host-01")
    log.synced([], at(0))
    log.close()
    assert "DEPLOYMENTS" in (tmp_path / "deployments.log").read_text(encoding="utf-8")


def test_each_new_beginning_repeats_the_start_up_block_and_five_old_ones_are_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_bytes=3000)
    desk.log.synced([state("login")], at(0))
    block = desk.text()
    with desk.path.open() as first:
        for number in range(200):
            desk.log.noticed(notice("login", STATUS, message=f"change {number}"), at(number))
        desk.log.close()
        assert os.path.samestat(os.fstat(first.fileno()), desk.path.stat()), "who follows it goes on following it"
    kept = [Path(f"{desk.path}.{number}") for number in range(5, 0, -1)]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (desk.path, *kept)}
    parts = [path.read_text(encoding="utf-8") for path in (*kept, desk.path)]
    assert all(part.startswith(block) and len(part.encode()) < 3000 for part in parts)
    told = [line for part in parts for line in part.removeprefix(block).splitlines()]
    assert told[-1].endswith("change 199")
    assert [line.rpartition(" ")[2] for line in told] == [str(number) for number in range(200 - len(told), 200)]


def test_a_log_that_cannot_be_rotated_goes_on_in_its_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_bytes=500)
    for number in (4, 5):
        (tmp_path / f"deployments.log.{number}").mkdir()
    with capture_logs() as said:
        for number in range(20):
            desk.log.noticed(notice("login", STATUS, message=f"change {number}"), at(number))
    desk.log.close()
    assert [line.rpartition(" ")[2] for line in desk.lines()] == [str(number) for number in range(20)]
    assert {one["event"] for one in said} == {"The deployments log cannot be rotated"}
    assert len(said) == len(desk.text().encode()) // 500


@pytest.mark.parametrize("target", ["victim", "new"])
def test_an_old_log_is_not_copied_through_a_link(tmp_path: Path, target: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    desk = Desk(tmp_path, max_bytes=500)
    (tmp_path / "deployments.log.1").symlink_to(tmp_path / target)
    for number in range(10):
        desk.log.noticed(notice("login", STATUS, message=f"change {number}"), at(number))
    desk.log.close()
    assert victim.read_text() == "mine"
    assert not (tmp_path / "new").exists()
    assert desk.lines()[-1].endswith("change 9")


def _is_left_alone(path: Path, state_dir: Path) -> None:
    with capture_logs() as said:
        log = DeploymentsLog(path, state_dir, "host-01")
    log.synced([], at(0))
    log.close()
    assert "DEPLOYMENTS" in (state_dir / "deployments.log").read_text(encoding="utf-8")
    assert [one["log_level"] for one in said] == ["warning"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The state directory, where the log goes instead."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.mark.parametrize("trap", ["link", "link to nothing", "second name"])
def test_a_trap_in_a_folder_of_all_is_not_written_to(tmp_path: Path, elsewhere: Path, trap: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "deployments.log"
    victim.write_text("mine")
    match trap:
        case "link":
            path.symlink_to(victim)
        case "link to nothing":
            path.symlink_to(tmp_path / "new")
        case _:
            path.hardlink_to(victim)
    _is_left_alone(path, elsewhere)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_a_pipe_in_its_place_is_not_written_to(tmp_path: Path, elsewhere: Path) -> None:
    path = tmp_path / "deployments.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _is_left_alone(path, elsewhere)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@pytest.mark.root
def test_the_file_of_another_is_not_written_to(tmp_path: Path, elsewhere: Path) -> None:
    path = tmp_path / "deployments.log"
    path.touch(mode=0o666)
    os.chown(path, 65534, 65534)
    _is_left_alone(path, elsewhere)
    assert path.read_text() == ""


def test_a_log_that_somebody_removes_or_moves_is_begun_anew_with_its_head(desk: Desk, tmp_path: Path) -> None:
    desk.log.synced([], at(0))
    head = desk.text()
    desk.path.unlink()
    desk.log.noticed(notice("a", STATUS), at(0))
    assert desk.text().startswith(head)
    assert desk.lines()[-1].startswith("[INFO] 🔄 STATUS: a")
    desk.path.rename(tmp_path / "moved")
    desk.log.noticed(notice("b", STATUS), at(0))
    assert desk.lines()[-1].startswith("[INFO] 🔄 STATUS: b")
    assert "STATUS: b" not in (tmp_path / "moved").read_text()


def test_a_log_in_whose_place_somebody_put_a_link_goes_on_where_it_was(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    desk.path.rename(tmp_path / "moved")
    desk.path.symlink_to(tmp_path / "target")
    desk.log.noticed(notice("a", STATUS), at(0))
    assert (tmp_path / "target").read_text() == ""
    assert "STATUS: a" in (tmp_path / "moved").read_text()


def test_a_standard_output_that_knows_few_signs_or_is_closed_keeps_nothing_back(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w", encoding="iso-8859-1") as few:
        monkeypatch.setattr("sys.stdout", few)
        desk.log.synced([state("größe")], at(0))
    assert r"\u2022 größe" in (tmp_path / "out").read_text(encoding="iso-8859-1")
    other = Desk(tmp_path)
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:  # noqa: PTH123 - no file
        monkeypatch.setattr("sys.stdout", full)
        other.log.synced([], at(0))
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    other.log.close()
