"""Every `grep`, `tail` and pipeline of the owner's description, by the real programs, on a log of a scripted day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from libs.contracts import Change, DeploymentStatus, ExecutionStatus, Reason, Trigger
from libs.stack.process import run, start
from services.host_runner.core.outcome import Outcome
from services.host_runner.core.vocabulary import RunExited, RunRequested
from tests.support.desk import Desk, notice, state
from tests.support.host_runner import at, trigger
from tests.support.outcomes import a_success
from tests.support.wait import until

PATH = "/usr/bin:/bin"
FORGER = "x\n2026-11-23 12:00:00 [INFO] ⚡ TRIGGERED: forged | QUEUED | ERROR"
"""What somebody may call a deployment: it is found by the words in its name, but never makes a line of its own."""


def a_day(desk: Desk) -> None:
    """A start; login runs, queues, skips, runs again; checkout is added, edited, paused, resumed, and completes."""
    desk.log.synced([state("login", execution_count=15), state("idle", "0 2 * * *")], at(0))

    def fires(one: Trigger) -> Trigger:
        desk.tell(RunRequested(one, False, one.scheduled_at), one.scheduled_at)
        return one

    def ends(one: Trigger, seconds: float, took: float) -> None:
        outcome = replace(a_success(at(seconds)), duration_seconds=took)
        desk.tell(RunExited(one.execution_id, None, outcome, at(seconds)), at(seconds))

    first, second, _ = (fires(trigger("login", seconds, execution_count=15)) for seconds in (600, 660, 720))
    ends(first, 735, 135.2)
    ends(second, 870, 135.0)
    checkout = {"execution_count": 19, "max_executions": 20, "by": "ada"}
    desk.log.noticed(notice("checkout", Change.CREATED, **checkout), at(900))
    desk.log.noticed(notice("checkout", Change.EDITED, **checkout), at(910))
    for status in (DeploymentStatus.PAUSED, DeploymentStatus.ACTIVE):
        desk.log.noticed(notice("checkout", Change.STATUS, status=status, **checkout), at(920))
    late = fires(trigger("checkout", 1000, device_id="emulator-5554", execution_count=19, max_executions=20))
    message = "Stopped after 60 s, its time limit"
    timed_out = Outcome(
        ExecutionStatus.FAILED, at(1060), Reason.TIMED_OUT, message=message, success=False, duration_seconds=60.0
    )
    desk.tell(RunExited(late.execution_id, None, timed_out, at(1060)), at(1060))
    done = {"execution_count": 20, "max_executions": 20}
    desk.log.noticed(
        notice("checkout", Change.SKIPPED, message="The limit of executions was reached", **done), at(1060)
    )
    desk.log.noticed(notice("checkout", Change.STATUS, status=DeploymentStatus.COMPLETED, **done), at(1061))
    desk.log.noticed(notice("idle", Change.STATUS, status=DeploymentStatus.EXPIRED), at(1070))
    desk.log.noticed(notice("idle", Change.DELETED, by="ada"), at(1080))


TRIGGERED_LOGIN = [
    "2026-11-23 12:10:00 [INFO] ⚡ TRIGGERED: login | Time: 2026-11-23 12:10:00 UTC",
    "2026-11-23 12:11:00 [INFO] ⚡ TRIGGERED: login | Time: 2026-11-23 12:11:00 UTC",
]
TRIGGERED_CHECKOUT = "2026-11-23 12:16:40 [INFO] ⚡ TRIGGERED: checkout | Time: 2026-11-23 12:16:40 UTC"
EXECUTING_LOGIN = "2026-11-23 12:10:00 [INFO] ▶️  EXECUTING: login | Script: health.py | Device: stb-1"
QUEUED = "2026-11-23 12:11:00 [INFO] ⏳ QUEUED: login | Will run after current execution"
SKIPPED = "2026-11-23 12:12:00 [WARN] ⏭️  SKIPPED: login | Already queued (max 1)"
FIRST_END = "2026-11-23 12:12:15 [INFO] ✅ COMPLETED: login | Duration: 135.2s | Success: True | Executions: 16/∞"
EXECUTING_QUEUED = "2026-11-23 12:12:15 [INFO] 🔄 EXECUTING QUEUED: login | Queued at: 2026-11-23 12:11:00"
SECOND_END = "2026-11-23 12:14:30 [INFO] ✅ COMPLETED: login | Duration: 135.0s | Success: True | Executions: 17/∞"
ERROR = "2026-11-23 12:17:40 [ERROR] 💥 ERROR: checkout | Stopped after 60 s, its time limit"
LATE_END = "2026-11-23 12:17:40 [INFO] ❌ COMPLETED: checkout | Duration: 60.0s | Success: False | Executions: 20/20"
OF_LOGIN = [
    "2026-11-23 12:00:00 [INFO] • login",
    TRIGGERED_LOGIN[0],
    EXECUTING_LOGIN,
    TRIGGERED_LOGIN[1],
    QUEUED,
    SKIPPED,
    FIRST_END,
    EXECUTING_QUEUED,
    SECOND_END,
]
OF_CHECKOUT = [
    "2026-11-23 12:15:00 [INFO] ➕ ADDED: checkout | Cron: */10 * * * * | Device: stb-1 | Executions: 19/20 | by ada",
    "2026-11-23 12:15:10 [INFO] 🔄 EDITED: checkout | Cron: */10 * * * * | Executions: 19/20 | by ada",
    "2026-11-23 12:15:20 [INFO] 🔄 STATUS: checkout | paused | by ada",
    "2026-11-23 12:15:20 [INFO] 🔄 STATUS: checkout | resumed | by ada",
    TRIGGERED_CHECKOUT,
    "2026-11-23 12:16:40 [INFO] ▶️  EXECUTING: checkout | Script: health.py | Device: emulator-5554",
    ERROR,
    LATE_END,
    "2026-11-23 12:17:40 [WARN] ⏭️  SKIPPED: checkout | The limit of executions was reached",
    "2026-11-23 12:17:41 [WARN] ⚠️  CONSTRAINT: checkout | The limit of executions was reached (20/20)",
    "2026-11-23 12:17:41 [INFO] 🔄 STATUS: checkout | completed",
]
OF_IDLE_AT_LAST = [
    "2026-11-23 12:17:50 [WARN] ⚠️  CONSTRAINT: idle | The end date of the deployment was reached",
    "2026-11-23 12:17:50 [INFO] 🔄 STATUS: idle | expired",
    "2026-11-23 12:18:00 [INFO] 🔄 REMOVED: idle | by ada",
]
NEWS = [*OF_LOGIN[1:], *OF_CHECKOUT, *OF_IDLE_AT_LAST]
TITLE = f"2026-11-23 12:00:00 [INFO] {'':33}DEPLOYMENTS{'':35}"
BLOCK_LINES = 20
"""Of the start-up block, from its first line to its last."""

Pick = Callable[[list[str]], list[str]]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.log.close()


def shell(command: str, locale: str = "C.UTF-8") -> list[str]:
    ended = run(["/bin/sh", "-c", command], within=10, env={"PATH": PATH, "LC_ALL": locale})
    return ended.output.split("\n")[:-1]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("tail -50 /tmp/deployments.log", lambda every: every[-50:]),
        ("cat /tmp/deployments.log", lambda every: every),
        ('grep -A 100 "DEPLOYMENTS" /tmp/deployments.log | tail -50', lambda every: every[3:]),
        ('tail -100 /tmp/deployments.log | grep -A 50 "DEPLOYMENTS"', lambda every: every[3:54]),
        ('grep "login" /tmp/deployments.log', lambda _: OF_LOGIN),
        ('grep "checkout" /tmp/deployments.log', lambda _: OF_CHECKOUT),
        ('grep "TRIGGERED" /tmp/deployments.log', lambda _: [*TRIGGERED_LOGIN, TRIGGERED_CHECKOUT]),
        ('grep "TRIGGERED.*login" /tmp/deployments.log | tail -5', lambda _: TRIGGERED_LOGIN),
        ('grep "ERROR" /tmp/deployments.log', lambda _: [ERROR]),
        ('grep "SKIPPED.*Already queued" /tmp/deployments.log', lambda _: [SKIPPED]),
        ('grep "Already queued" /tmp/deployments.log', lambda _: [SKIPPED]),
        ('grep "QUEUED" /tmp/deployments.log', lambda _: [QUEUED, EXECUTING_QUEUED]),
        ('grep "EXECUTING QUEUED" /tmp/deployments.log', lambda _: [EXECUTING_QUEUED]),
        ('grep "Duration:" /tmp/deployments.log | tail -10', lambda _: [FIRST_END, SECOND_END, LATE_END]),
    ],
)
def test_every_command_finds_what_it_always_found(desk: Desk, command: str, found: Pick, locale: str) -> None:
    a_day(desk)
    every = desk.text().split("\n")[:-1]
    assert every[BLOCK_LINES:] == NEWS
    assert every[3] == TITLE
    assert shell(command.replace("/tmp/deployments.log", str(desk.path)), locale) == found(every)


@pytest.mark.parametrize(
    "command",
    ['tail -n 100 {journal} | grep -A 30 "DEPLOYMENTS"', 'cat {journal} | grep -A 20 "DEPLOYMENTS"'],
    ids=["journalctl -n 100", "systemctl status"],
)
def test_the_journal_of_the_service_shows_the_start_up_block(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    a_day(desk)
    journal = tmp_path / "journal"
    journal.write_text("Started the runner.\n" + capsys.readouterr().out, encoding="utf-8")
    block = desk.text().split("\n")[:BLOCK_LINES]
    assert shell(command.format(journal=journal)) == block[3:]


def test_names_are_found_and_forge_nothing(desk: Desk) -> None:
    desk.log.synced([state(FORGER)], at(0))
    desk.log.noticed(notice(FORGER, Change.CREATED), at(1))
    a_day(desk)
    [*_, added] = shell(f'grep "forged" {desk.path}')
    assert added.startswith("2026-11-23 12:00:01 [INFO] ➕ ADDED: x\\n2026-11-23 12:00:00 [INFO] ⚡ TRIGGERED: forged")
    assert shell(f'grep -cv "^2026-11-23 12:[0-5][0-9]:[0-5][0-9] \\[[A-Z]*\\] " {desk.path}') == ["0"]


def test_who_follows_sees_every_line_also_when_the_log_begins_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_bytes=4000)
    desk.log.synced([state("login")], at(0))
    seen = tmp_path / "seen"
    # Where files cannot be watched (an overlay) it looks again: often, since each line is waited for.
    follower = start("tail", ["/usr/bin/tail", "-f", "-s", "0.05", str(desk.path)], env={"LC_ALL": "C.UTF-8"}, log=seen)
    try:
        until(lambda: seen.exists() and "Active: 1" in seen.read_text(), within=10, what="tail has begun")
        for number in range(120):
            last = f"change {number}."
            desk.log.noticed(notice("login", Change.STATUS, message=last), at(number))
            until(lambda last=last: last in seen.read_text(), within=10, what=f"{last} is seen")  # type: ignore[misc]
    finally:
        follower.kill()
        desk.log.close()
    assert (tmp_path / "deployments.log.1").exists()
    # What is there from long ago, people still find in the file of today.
    assert shell(f'grep -A 100 "DEPLOYMENTS" {desk.path} | tail -50')[0] == TITLE
    assert shell(f'grep -h "change 7\\." {desk.path}*')[0].endswith("resumed | change 7.")
