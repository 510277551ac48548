"""`rigbeat status`, also when nothing runs: from the file, the pids and who holds the home."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.home import Home
from cli.processes import Process, read, start_ticks, status, write

ME = os.getpid()
ENTRY = {"name": "scheduler-1", "pid": ME, "port": 9101, "started_at": "2026-11-23T10:00:00Z"}


def shown(home: Path, *options: str) -> list[dict[str, object]]:
    ended = CliRunner().invoke(app, ["status", "--json", "--home", str(home), *options])
    assert ended.exit_code == 0, ended.output
    found: list[dict[str, object]] = json.loads(ended.stdout)
    return found


def process(pid: int, ticks: int | None) -> Process:
    return Process(name="scheduler-1", pid=pid, port=9101, started_at="2026-11-23T10:00:00Z", start_ticks=ticks)


def test_nothing_was_ever_started(tmp_path: Path) -> None:
    assert shown(tmp_path / "none") == []


def test_a_living_process_is_up(tmp_path: Path) -> None:
    write(Home(tmp_path), [process(ME, start_ticks(ME))])
    assert shown(tmp_path) == [{**ENTRY, "status": "up"}]


def test_another_process_with_the_same_pid_is_not_it(tmp_path: Path) -> None:
    write(Home(tmp_path), [process(ME, (start_ticks(ME) or 0) + 1)])
    assert shown(tmp_path) == [{**ENTRY, "status": "down"}]


def test_a_dead_one_is_restarting_while_somebody_is_there_who_starts_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write(home, [process(ME, 1)])
    home.lock.write_text(f"{ME} {start_ticks(ME)}\n")
    assert shown(tmp_path)[0]["status"] == "restarting"
    home.lock.write_text(f"{ME} 1\n")
    assert shown(tmp_path)[0]["status"] == "down"


def test_the_common_options_stand_before_the_command_too(tmp_path: Path) -> None:
    write(Home(tmp_path), [process(ME, None)])
    ended = CliRunner().invoke(app, ["--json", "--home", str(tmp_path), "status"])
    assert json.loads(ended.stdout)[0]["name"] == "scheduler-1"


def test_the_home_is_read_from_the_environment(tmp_path: Path) -> None:
    write(Home(tmp_path), [process(ME, None)])
    ended = CliRunner().invoke(app, ["status"], env={"RIGBEAT_HOME": str(tmp_path)})
    assert ended.stdout.splitlines()[0] == "name\tstatus\tpid\tport\tstarted_at"
    assert ended.stdout.splitlines()[1].startswith(f"scheduler-1\tup\t{ME}\t9101\t")


def test_a_file_that_nobody_of_ours_wrote_is_said(tmp_path: Path) -> None:
    Home(tmp_path).processes.write_text("[1, 2]")
    ended = CliRunner().invoke(app, ["status", "--home", str(tmp_path)])
    assert ended.exit_code == 1
    assert "is not a list of processes" in ended.stderr


def test_the_file_is_replaced_whole_and_may_have_more_fields(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write(home, [process(ME, None)])
    home.processes.write_text(json.dumps([{**ENTRY, "colour": "blue"}]))
    assert read(home) == [process(ME, None)]
    assert [path.name for path in tmp_path.iterdir()] == ["processes.json"]


@pytest.mark.parametrize(
    ("alive", "supervised", "word"),
    [(True, True, "up"), (True, False, "up"), (False, True, "restarting"), (False, False, "down")],
)
def test_the_words(alive: bool, supervised: bool, word: str) -> None:
    assert status(alive, supervised) == word
