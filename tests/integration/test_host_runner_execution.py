"""Runs that cannot begin end with a word, and the runner goes on: a real journal, real shims, no broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from libs.contracts import ExecutionStatus, Reason
from services.host_runner import process
from services.host_runner.core.ending import Cause, How
from services.host_runner.core.host import Run
from services.host_runner.execution import START_SECONDS
from tests.support.host_runner import trigger
from tests.support.script_lab import Lab, now


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    await lab.executions.start()
    yield lab
    await lab.close()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"script_name": "ü" * 200}, Reason.SCRIPT_NOT_FOUND),
        ({"script_name": "loop.py"}, Reason.SCRIPT_NOT_FOUND),
        ({"parameters": "'open"}, Reason.INVALID_PARAMETERS),
        ({"userinterface_name": "a\0b"}, Reason.INVALID_PARAMETERS),
        ({"parameters": "x" * 200_000}, Reason.SPAWN_FAILED),
    ],
)
async def test_what_cannot_be_started_fails_and_the_next_runs(lab: Lab, given: dict[str, Any], reason: Reason) -> None:
    ended = await lab.run("odd", 5, **given)
    assert (ended.status, ended.reason) == (ExecutionStatus.FAILED, reason)
    assert ended.message
    assert (await lab.run("login", 10)).status is ExecutionStatus.COMPLETED


@pytest.mark.parametrize(
    ("name", "content", "mode", "reason", "message"),
    [
        ("gone.py", None, 0, Reason.SCRIPT_NOT_FOUND, "There is no script gone.py in {folder}"),
        (
            "plain.sh",
            "#!/bin/sh\n",
            0o644,
            Reason.SPAWN_FAILED,
            "The script could not be started: Cannot execute {path}: Permission denied",
        ),
        (
            "odd.sh",
            "#!/no/such/program\n",
            0o755,
            Reason.SPAWN_FAILED,
            (
                "The script could not be started: Cannot execute {path}: No such file or directory "
                "(it is there, but the program in its first line is not)"
            ),
        ),
        (
            "open.py",
            "print(",
            0o644,
            Reason.EXIT_CODE,
            "Ended with exit code 1: SyntaxError: '(' was never closed",
        ),
        (
            "lost.sh",
            "#!/bin/sh\nno-such-command\n",
            0o755,
            Reason.EXIT_CODE,
            "Ended with exit code 127 (a command in it was not found): {path}: 2: no-such-command: not found",
        ),
        (
            "hurt.sh",
            "#!/bin/sh\nkill -SEGV $$\n",
            0o755,
            Reason.SIGNALLED,
            "Ended by signal SIGSEGV (a segmentation fault)",
        ),
        (
            "loud.py",
            "print('x' * 2_000_000)",
            0o644,
            None,
            "Its output was capped: only the first 1048619 bytes are kept",
        ),
    ],
)
async def test_a_person_reads_why(
    lab: Lab, name: str, content: str | None, mode: int, reason: Reason | None, message: str
) -> None:
    path = lab.scripts / name
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    ended = await lab.run("odd", 10, script_name=name)
    assert (ended.reason, ended.message) == (reason, message.format(path=path, folder=lab.scripts))
    if reason is None:
        mark = b"[rigbeat: output capped at 1048576 bytes]\n"
        output = (lab.place / "runs" / str(ended.execution_id) / "output").read_bytes()
        assert output.endswith(mark)
        assert ended.log_bytes == len(output)


@pytest.mark.parametrize(
    ("content", "given", "reason", "message"),
    [
        (
            "while :; do echo on; sleep 0.05; done",
            {"timeout_seconds": 0.3, "silence_timeout_seconds": 30},
            Reason.TIMED_OUT,
            "Stopped after 0.3 s, its time limit",
        ),
        (
            "echo once; sleep 60",
            {"silence_timeout_seconds": 0.3},
            Reason.SILENT,
            "Stopped because it printed nothing for 0.3 s",
        ),
        (
            "( setsid sleep 60 & ); echo SCRIPT_SUCCESS:true",
            {},
            None,
            "A process that it had left behind had to be ended",
        ),
    ],
)
async def test_the_limits_of_the_trigger_hold_and_nothing_is_left(
    lab: Lab, content: str, given: dict[str, Any], reason: Reason | None, message: str
) -> None:
    script = lab.scripts / "limited.sh"
    script.write_text(f"#!/bin/sh\n{content}\n")
    script.chmod(0o755)
    ended = await lab.run("limited", 10, script_name="limited.sh", **given)
    assert (ended.reason, ended.message) == (reason, message)
    assert ended.duration_seconds is not None
    assert ended.duration_seconds < 5


async def test_a_shim_that_dies_before_its_mark_is_told_at_once(lab: Lab) -> None:
    one = trigger("login")
    # Something is in the place of its mark, so that it gives up.
    folder = lab.place / "runs" / str(one.execution_id)
    folder.mkdir(parents=True)
    (folder / "start").symlink_to("nowhere")
    within = 5.0
    assert within < START_SECONDS
    ended = await lab.run("login", within)
    assert (ended.status, ended.reason) == (ExecutionStatus.FAILED, Reason.SPAWN_FAILED)
    assert "The shim did not start" in (ended.message or "")


async def test_a_shim_that_comes_after_its_run_was_over_starts_nothing(lab: Lab) -> None:
    """Its runner died when it had started it; the next one found no mark, and could not start the script."""
    late = trigger("late", script_name="gone.py")
    run = Run(late, now())
    lab.executions._folder(run).mkdir(parents=True)
    ended = await lab.run("late", within=10, script_name="gone.py")
    assert (ended.execution_id, ended.reason) == (late.execution_id, Reason.SCRIPT_NOT_FOUND)
    lab.executions._artifacts(run).mkdir(parents=True, exist_ok=True)
    pid = process.spawn(lab.executions._spec(run, lab.scripts / "health.py"))
    ending = await process.wait_ended(lab.executions._folder(run), pid)
    assert (ending.outcome, ending.cause) == (How.NOT_SPAWNED, Cause.CANCELLED)
