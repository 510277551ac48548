"""The lines that people of the lab know, to the letter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from libs.contracts import DeploymentState, DeploymentStatus, Reason
from services.host_runner.core.decide import decide
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import Event, RunExited, RunRequested, Told
from services.host_runner.deployments_log import DeploymentsLog
from tests.support.host_runner import at, deployment, fence, lock, trigger
from tests.support.outcomes import a_failure, a_success


class Desk:
    def __init__(self, place: Path) -> None:
        self.path = place / "deployments.log"
        self.log = DeploymentsLog(self.path, place, "host-01")
        self.host = Host(devices=frozenset({"stb-1"}), max_parallel=1)

    def tell(self, event: Event) -> None:
        self.host, commands = decide(self.host, event)
        self.log.happened(event, commands)

    def lines(self) -> list[str]:
        """Without the time, which is checked to be one."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - only whether it is one
        return [line[20:] for line in lines]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.log.close()


def test_a_run_and_its_queue(desk: Desk) -> None:
    fires = [trigger("login", seconds, execution_count=15) for seconds in (0, 60, 120)]
    for fire in fires:
        desk.tell(RunRequested(fire, False, fire.scheduled_at))
    outcome = replace(a_success(at(135)), duration_seconds=135.2)
    desk.tell(RunExited(fires[0].execution_id, None, outcome, at(135)))
    desk.tell(RunExited(fires[1].execution_id, None, a_failure(at(150)), at(150)))
    assert desk.lines() == [
        "[INFO] ⚡ TRIGGERED: login | Time: 2026-11-23 12:00:00 UTC",
        "[INFO] ▶️  EXECUTING: login | Script: health.py | Device: stb-1",
        "[INFO] ⚡ TRIGGERED: login | Time: 2026-11-23 12:01:00 UTC",
        "[INFO] ⏳ QUEUED: login | Will run after current execution",
        "[INFO] ⚡ TRIGGERED: login | Time: 2026-11-23 12:02:00 UTC",
        "[WARN] ⏭️  SKIPPED: login | Already queued (max 1)",
        "[INFO] ✅ COMPLETED: login | Duration: 135.2s | Success: True | Executions: 16/∞",
        "[INFO] 🔄 EXECUTING QUEUED: login | Queued at: 2026-11-23 12:01:00",
        "[INFO] ❌ COMPLETED: login | Duration: 1.0s | Success: False | Executions: 17/∞",
    ]


def test_a_redelivery_says_nothing(desk: Desk) -> None:
    desk.tell(RunRequested(trigger("login"), True, at(0)))
    assert desk.lines() == []


def test_fences_and_locks_say_why(desk: Desk) -> None:
    desk.tell(Told(lock(1), at(0)))
    desk.tell(RunRequested(trigger("login"), False, at(1)))
    desk.tell(Told(fence("login", 2, Reason.PAUSED), at(2)))
    desk.tell(RunRequested(trigger("login", 5), False, at(5)))
    assert [line for line in desk.lines() if "SKIPPED" in line] == [
        "[WARN] ⏭️  SKIPPED: login | The device was locked by a person: anna, new firmware",
        "[WARN] ⏭️  SKIPPED: login | The deployment was paused",
    ]


def test_the_start_up_block(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    def state(name: str, cron: str, count: int, limit: int | None, status: str = "active") -> DeploymentState:
        return DeploymentState(
            deployment_id=deployment(name),
            name=name,
            version=1,
            status=DeploymentStatus(status),
            cron_expression=cron,
            timezone="UTC",
            last_executed_at=at(-600),
            next_fire_at=None,
            execution_count=count,
            max_executions=limit,
        )

    desk.log.start_up([state("login", "*/10 * * * *", 15, None), state("checkout", "*/30 * * * *", 8, 20)])
    rule = "[INFO] " + "=" * 80
    expected = [
        "[INFO] === DEPLOYMENT SCHEDULER STARTING === Host: host-01",
        "[INFO] ",
        rule,
        "[INFO]                                  DEPLOYMENTS                                   ",
        rule,
        "[INFO] Active: 2",
        "[INFO] ",
        "[INFO] • checkout",
        "[INFO]   Last execution:  2026-11-23 11:50:00 UTC",
        "[INFO]   Next execution:  never",
        "[INFO]   Frequency:       */30 * * * *",
        "[INFO]   Executions:      8/20",
        "[INFO] ",
        "[INFO] • login",
        "[INFO]   Last execution:  2026-11-23 11:50:00 UTC",
        "[INFO]   Next execution:  never",
        "[INFO]   Frequency:       */10 * * * *",
        "[INFO]   Executions:      15/∞",
        "[INFO] ",
        rule,
    ]
    assert desk.lines() == expected
    assert [line[20:] for line in capsys.readouterr().out.splitlines()] == expected


def test_a_log_that_cannot_be_opened_is_replaced(tmp_path: Path) -> None:
    log = DeploymentsLog(tmp_path / "no such folder" / "deployments.log", tmp_path, "host-01")
    log.start_up([])
    log.close()
    assert "DEPLOYMENTS" in (tmp_path / "deployments.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("trap", ["link", "link to nothing", "second name", "pipe", "another's"])
def test_a_trap_in_a_folder_of_all_is_not_written_to(tmp_path: Path, trap: str) -> None:
    victim, path, state = tmp_path / "victim", tmp_path / "deployments.log", tmp_path / "state"
    state.mkdir()
    victim.write_text("mine")
    match trap:
        case "link":
            path.symlink_to(victim)
        case "link to nothing":
            path.symlink_to(tmp_path / "new")
        case "second name":
            path.hardlink_to(victim)
        case "pipe":
            os.mkfifo(path)
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        case _:
            if os.geteuid() != 0:
                pytest.skip("only root can make a file another's")
            path.touch(mode=0o666)
            os.chown(path, 65534, 65534)
    with capture_logs() as said:
        log = DeploymentsLog(path, state, "host-01")
    log.start_up([])
    log.close()
    assert victim.read_text() == "mine"
    assert not (tmp_path / "new").exists()
    assert "DEPLOYMENTS" in (state / "deployments.log").read_text(encoding="utf-8")
    assert [one["log_level"] for one in said] == ["warning"]
    if trap == "pipe":
        os.close(reader)
    elif trap == "another's":
        assert path.read_text() == ""
