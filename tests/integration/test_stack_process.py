"""Children of the stack: bound to the process that started them, not to the thread."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import psutil
import pytest

from libs.stack.errors import StackError
from libs.stack.process import Child, run, start
from libs.stack.program import ENVIRONMENT
from tests.support.signals import as_nohup_in_the_background, masks
from tests.support.wait import until

_SECONDS = 10.0


def sleeper(log: Path) -> Child:
    child = start("sleep", ["/bin/sleep", "60"], env=ENVIRONMENT, log=log)
    until(lambda: psutil.Process(child.pid).name() == "sleep", within=_SECONDS)
    return child


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    made: list[Child] = []
    thread = threading.Thread(target=lambda: made.append(sleeper(tmp_path / "log")))
    thread.start()
    thread.join()
    try:
        until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists(), within=_SECONDS)
        assert made[0].poll() is None
    finally:
        made[0].kill()


def test_terminate_and_kill_tell_the_exit_code_every_time(tmp_path: Path) -> None:
    child = sleeper(tmp_path / "log")
    assert child.terminate(_SECONDS) == -signal.SIGTERM
    assert child.terminate(_SECONDS) == -signal.SIGTERM
    assert child.kill() == -signal.SIGTERM


def test_a_child_that_ignores_the_request_is_killed_after_the_grace_time_with_its_group(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; sleep 60 & echo $!; wait"
    child = start("stubborn", ["/bin/sh", "-c", stubborn], env=ENVIRONMENT, log=tmp_path / "log")
    until(lambda: child.last_words().isdigit(), within=_SECONDS)
    grandchild = psutil.Process(int(child.last_words()))
    assert child.terminate(0.1) == -signal.SIGKILL
    until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, within=_SECONDS)


def test_a_child_leads_a_group_of_its_own_and_ignores_no_signal(tmp_path: Path) -> None:
    with as_nohup_in_the_background():
        child = sleeper(tmp_path / "log")
    try:
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert masks(status)["SigIgn"] == 0
        assert int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[2]) == child.pid
    finally:
        child.kill()


def test_a_program_that_is_not_there_is_told_by_its_log(tmp_path: Path) -> None:
    child = start("nothing", ["/no/such/program"], env=ENVIRONMENT, log=tmp_path / "log")
    assert child.wait(_SECONDS) == 1
    assert "/no/such/program" in child.last_words(20) or "FileNotFoundError" in child.last_words()


def test_a_short_command_gives_code_and_output_and_a_slow_one_an_error() -> None:
    ended = run(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], within=_SECONDS)
    assert (ended.code, ended.output, ended.tail()) == (3, "one\ntwo\n", "one | two")
    with pytest.raises(StackError, match="/bin/sleep did not end within"):
        run(["/bin/sleep", "60"], within=0.2)
