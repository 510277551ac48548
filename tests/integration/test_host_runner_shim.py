"""Scripts under shims, with real processes: how they end, what outlives whom, and that nothing runs twice."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from libs.stack.process import start
from services.host_runner.core.ending import Cause, How
from services.host_runner.process import ShimState, cancel, inspect, kill_leftovers, started, wait_ended
from services.host_runner.shim.program import ALREADY_STARTED
from tests.support.shims import Shims, is_alive, kill
from tests.support.signals import as_nohup_in_the_background, masks
from tests.support.wait import until

FOREVER = "while :; do sleep 0.05; done"
# Asked to end, it does not; asked for how long, for ever.
STUBBORN = f"trap '' TERM; echo $$ > pid; {FOREVER}"
# Is gone before one looks, and its child, too: never the same pid for longer than a millisecond.
FORKING = """
import os, signal, time
end = time.monotonic() + 60  # should the test fail, then not for ever
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open("there", "w") as file:
    file.write("yes")
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
# Leaves its parent and its session, as a daemon does.
DAEMON = f'( setsid sh -c "{{trap}}; echo \\$\\$ > daemon; {FOREVER}" & ); until [ -s daemon ]; do sleep 0.01; done'


@pytest.fixture
def shims(tmp_path: Path) -> Iterator[Shims]:
    """Fails a test that leaves a process behind."""
    made = Shims(tmp_path)
    left = []
    try:
        yield made
    finally:
        left = made.close()
    assert not left, f"processes were left of {left}"


async def test_exit_code_output_and_times_are_told(shims: Shims) -> None:
    run = shims.start("echo to the one; echo to the other >&2; sleep 0.1; exit 7")
    begun = await started(run.folder, within=5)
    ending = await run.end()
    assert (ending.outcome, ending.code, ending.signal, ending.cause) == (How.EXITED, 7, None, None)
    assert run.output == "to the one\nto the other\n"
    assert ending.output_bytes == len(run.output)
    assert begun is not None
    assert begun == ending.started_at
    assert ending.duration_seconds is not None
    assert 0.1 <= ending.duration_seconds < 5
    assert begun < ending.ended_at
    assert inspect(run.folder) is ShimState.FINISHED


async def test_the_script_has_a_clean_process_of_its_own(shims: Shims) -> None:
    code = (
        "import os, signal, sys\n"
        "print(sorted(os.environ), os.getcwd(), sys.stdin.read(), os.getsid(0) == os.getpid())\n"
        "print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1], sys.argv[1:])\n"
        "print(open('/proc/self/status').read())\n"
    )
    with as_nohup_in_the_background():
        run = shims.start((sys.executable, "-I", "-S", "-c", code, "a b", "--", "", "$HOME"))
    ending = await run.end()
    lines = run.output.splitlines()
    assert ending.code == 0
    assert lines[0] == f"['LANG', 'PATH', 'RIGBEAT_EXECUTION_ID'] {run.spec.cwd}  True"
    assert lines[1] == "[0, 1, 2] ['a b', '--', '', '$HOME']"
    found = masks(run.output)
    assert found["SigBlk"] == 0
    assert found["SigIgn"] == 0x1001000, "SIGPIPE and SIGXFSZ, by this Python itself"


async def test_a_script_with_no_python_in_it_ignores_no_signal(shims: Shims) -> None:
    with as_nohup_in_the_background():
        run = shims.start(("/bin/grep", "SigIgn", "/proc/self/status"))
    await run.end()
    assert masks(run.output) == {"SigIgn": 0}


async def test_a_signal_is_told_by_its_name(shims: Shims) -> None:
    ending = await shims.start("kill -SEGV $$").end()
    assert (ending.outcome, ending.code, ending.signal, ending.cause) == (How.SIGNALLED, None, "SIGSEGV", None)


@pytest.mark.parametrize(
    ("printed", "success"),
    [
        ("SCRIPT_SUCCESS:true\\n", True),
        ("SCRIPT_SUCCESS:true\\nSCRIPT_SUCCESS:false\\n", False),
        ("SCRIPT_SUCCESS:false\\nSCRIPT_SUCCESS:true", True),
        ("SCRIPT_SUCCESS:maybe\\n", None),
        ("it said SCRIPT_SUCCESS:true\\n", None),
    ],
)
async def test_the_last_success_marker_counts(shims: Shims, printed: str, success: bool | None) -> None:
    ending = await shims.start(("/usr/bin/printf", printed)).end()
    assert ending.success_marker is success


async def test_the_result_id_is_told(shims: Shims) -> None:
    result = "5f0c8a52-7d2d-4a3c-9d5e-0123456789ab"
    ending = await shims.start(f"echo SCRIPT_RESULT_ID:{result}; echo SCRIPT_RESULT_ID:none").end()
    assert ending.result_id == UUID(result)


async def test_the_time_limit_ends_it(shims: Shims) -> None:
    ending = await shims.start(FOREVER, timeout=0.3).end()
    assert (ending.outcome, ending.signal, ending.cause) == (How.SIGNALLED, "SIGTERM", Cause.TIMED_OUT)
    assert ending.duration_seconds is not None
    assert 0.3 <= ending.duration_seconds < 2


async def test_silence_ends_it_and_output_keeps_it_alive(shims: Shims) -> None:
    # The sleeps together are longer than the silence that ends it, each alone is much shorter.
    ending = await shims.start("for n in 1 2 3 4; do sleep 0.4; echo $n; done; sleep 30", silence=1.5).end()
    assert ending.cause is Cause.SILENT
    assert ending.output_bytes == 8
    assert ending.duration_seconds is not None
    assert 3.1 <= ending.duration_seconds < 10


async def test_a_cancelled_script_may_tidy_up(shims: Shims) -> None:
    run = shims.start(f"trap 'echo tidied up; exit 5' TERM; echo there; {FOREVER}")
    until(lambda: "there" in (run.output if (run.folder / "output").exists() else ""), within=5)
    cancel(run.folder)
    ending = await run.end()
    assert (ending.outcome, ending.code, ending.cause) == (How.EXITED, 5, Cause.CANCELLED)
    assert run.output.endswith("tidied up\n")


async def test_who_ignores_term_is_killed_after_the_grace_time(shims: Shims) -> None:
    run = shims.start(STUBBORN, timeout=1.5, grace=0.4)  # time enough to say that it ignores it
    ending = await run.end()
    assert (ending.outcome, ending.signal, ending.cause) == (How.SIGNALLED, "SIGKILL", Cause.TIMED_OUT)
    assert ending.duration_seconds is not None
    assert 1.9 <= ending.duration_seconds < 6
    assert not is_alive(run.pid_in("pid"))


async def test_a_stopped_script_can_be_ended(shims: Shims) -> None:
    run = shims.start("echo $$ > pid; kill -STOP $$")
    until(lambda: run.pid_in("pid"), within=5)
    cancel(run.folder)
    assert (await run.end()).signal == "SIGTERM"


@pytest.mark.parametrize("trap", ["trap '' TERM", "trap : HUP"])
async def test_a_daemon_does_not_outlive_its_script(shims: Shims, trap: str) -> None:
    run = shims.start(f"{DAEMON.format(trap=trap)}; exit 0", grace=0.3)
    ending = await run.end()
    assert (ending.outcome, ending.code, ending.cause) == (How.EXITED, 0, None)
    assert ending.leftovers >= 1
    assert run.pid_in("daemon")
    assert not is_alive(run.pid_in("daemon"))


async def test_a_daemon_with_an_environment_of_its_own_does_not_either(shims: Shims) -> None:
    run = shims.start(f"( env -i setsid sh -c 'echo $$ > daemon; exec sleep 60' & ); {_until('daemon')}", grace=0.3)
    await run.end()
    assert run.pid_in("daemon")
    assert not is_alive(run.pid_in("daemon"))


async def test_who_forks_without_end_is_killed(shims: Shims) -> None:
    run = shims.start((sys.executable, "-I", "-S", "-c", FORKING), grace=0.2)
    ending = await run.end()
    assert (ending.outcome, ending.code) == (How.EXITED, 0)
    assert run.note("there") == "yes"


async def test_who_forks_without_end_is_killed_also_when_its_shim_died(shims: Shims) -> None:
    run = shims.start((sys.executable, "-I", "-S", "-c", FORKING), grace=30)
    until(lambda: run.note("there"), within=5)
    kill(run.pid or 0)
    ending = await run.end()
    assert ending.interrupted


def test_who_forks_without_end_is_found_by_the_environment_alone(shims: Shims) -> None:
    run = shims.prepare("")
    environment = dict(run.spec.env)
    log = run.spec.cwd / "log"
    head = start("forking", [sys.executable, "-I", "-S", "-c", FORKING], env=environment, log=log, cwd=run.spec.cwd)
    until(lambda: head.poll() == 0 and run.note("there"), within=5)
    assert kill_leftovers(run.execution_id) >= 1


async def test_a_stranger_who_holds_the_output_does_not_hold_up_the_end(shims: Shims) -> None:
    run = shims.prepare("echo $$ > pid; read line < go; echo done")
    os.mkfifo(run.spec.cwd / "go")
    run.start()
    held = os.open(f"/proc/{until(lambda: run.pid_in('pid'), within=5)}/fd/1", os.O_WRONLY)
    try:
        (run.spec.cwd / "go").write_text("on\n")
        ending = await run.end()
    finally:
        os.close(held)
    assert ending.code == 0
    assert run.output == "done\n"


async def test_of_many_shims_at_once_one_runs_the_script(shims: Shims) -> None:
    run = shims.prepare("echo $RIGBEAT_EXECUTION_ID >> effects; sleep 0.3")
    started_at_once = [replace(run).start() for _ in range(5)]
    codes = sorted(one.exit_code() for one in started_at_once)
    assert codes == [0] + [ALREADY_STARTED] * 4
    assert (await wait_ended(run.folder)).code == 0
    assert run.start().exit_code() == ALREADY_STARTED
    assert run.note("effects") == run.execution_id
    assert sorted(path.name for path in run.folder.iterdir()) == ["output", "shim.err", "start", "started", "status"]


async def test_a_killed_shim_takes_its_script_along(shims: Shims) -> None:
    run = shims.start(STUBBORN)
    script = until(lambda: run.pid_in("pid"), within=5)
    kill(run.pid or 0)
    until(lambda: not is_alive(script), within=5)
    assert (await run.end()).interrupted


async def test_what_a_killed_shim_left_is_killed_by_its_environment(shims: Shims, tmp_path: Path) -> None:
    daemon_script = DAEMON.format(trap="trap : HUP; env -i sleep 61 & echo \\$! > child")
    run = shims.start(f"{daemon_script}; {FOREVER}")
    daemon, child = until(lambda: run.pid_in("daemon"), within=5), until(lambda: run.pid_in("child"), within=5)
    other = {"RIGBEAT_EXECUTION_ID": run.execution_id + "0"}
    bystander = start("bystander", ["/bin/sleep", "60"], env=other, log=tmp_path / "log")
    try:
        assert inspect(run.folder) is ShimState.ALIVE
        kill(run.pid or 0)
        until(lambda: inspect(run.folder) is ShimState.DEAD, within=5)
        assert is_alive(daemon)
        assert is_alive(child)
        ending = await run.end()
        assert not is_alive(daemon)
        assert not is_alive(child)
        assert bystander.poll() is None
    finally:
        bystander.kill()
    assert ending.interrupted
    assert ending.started_at is not None
    assert ending.code is None


async def test_another_process_takes_over(shims: Shims) -> None:
    run = shims.prepare("echo before; until [ -e go ]; do sleep 0.02; done; echo after; exit 3")
    pid = run.start_from_a_process_that_ends()
    assert await started(run.folder, within=5) is not None
    assert inspect(run.folder) is ShimState.ALIVE
    (run.spec.cwd / "go").touch()
    ending = await wait_ended(run.folder, pid)
    assert (ending.outcome, ending.code) == (How.EXITED, 3)
    assert run.output == "before\nafter\n"


async def test_what_ended_while_nobody_looked_is_picked_up(shims: Shims) -> None:
    run = shims.prepare("exit 4")
    run.start_from_a_process_that_ends()
    until(lambda: inspect(run.folder) is ShimState.FINISHED, within=5)
    assert (await wait_ended(run.folder)).code == 4


async def test_a_taken_over_script_can_be_cancelled_and_its_limits_hold(shims: Shims) -> None:
    cancelled, limited = shims.prepare(FOREVER), shims.prepare(FOREVER, timeout=0.5)
    for run in (cancelled, limited):
        run.start_from_a_process_that_ends()
        assert await started(run.folder, within=5) is not None
    cancel(cancelled.folder)
    assert (await wait_ended(cancelled.folder)).cause is Cause.CANCELLED
    assert (await wait_ended(limited.folder)).cause is Cause.TIMED_OUT


async def test_a_cancel_before_the_mark_is_not_lost(shims: Shims) -> None:
    run = shims.prepare("echo ran > effect")
    run.folder.mkdir(parents=True)
    cancel(run.folder)
    ending = await run.start().end()
    assert (ending.outcome, ending.cause, ending.started_at) == (How.NOT_SPAWNED, Cause.CANCELLED, None)
    assert not run.note("effect")
    assert await started(run.folder, within=5) is None


async def test_a_shutdown_is_no_cancel(shims: Shims) -> None:
    run = shims.start(f"echo $$ > pid; {FOREVER}")
    until(lambda: run.pid_in("pid"), within=5)
    os.kill(run.pid or 0, signal.SIGTERM)
    assert (await run.end()).cause is Cause.TERMINATED


async def test_the_output_is_capped_and_read_on(shims: Shims) -> None:
    ending = await (
        run := shims.start("printf 'no newline'; head -c 100000 /dev/zero; echo; echo SCRIPT_SUCCESS:false", cap=4)
    ).end()
    assert run.output == "no n\n[rigbeat: output capped at 4 bytes]\n"
    assert ending.output_bytes == len(run.output)
    assert ending.dropped_bytes == len("no newline") - 4 + 100_000 + len("\nSCRIPT_SUCCESS:false\n")
    assert ending.success_marker is False


async def test_a_flood_of_output_loses_no_byte(shims: Shims) -> None:
    run = shims.start("head -c 200000000 /dev/zero; echo; echo SCRIPT_SUCCESS:true", cap=150_000_000)
    ending = await run.end()
    mark = len("\n[rigbeat: output capped at 150000000 bytes]\n")
    assert ending.output_bytes == 150_000_000 + mark == (run.folder / "output").stat().st_size
    assert ending.dropped_bytes == 50_000_000 + len("\nSCRIPT_SUCCESS:true\n")
    assert ending.success_marker is True


async def test_a_full_disk_does_not_stop_the_script(shims: Shims) -> None:
    run = shims.prepare("head -c 200000 /dev/zero; echo; echo SCRIPT_SUCCESS:true; exit 6")
    run.start_from_a_process_that_ends(most_bytes_in_a_file=100_000)
    ending = await wait_ended(run.folder)
    assert (ending.outcome, ending.code, ending.success_marker) == (How.EXITED, 6, True)
    assert ending.output_bytes == 100_000
    assert ending.error == "The output after byte 100000 could not be written: File too large"


@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [
        (None, 0, "Cannot execute {path}: No such file or directory"),
        ("#!/bin/sh\n", 0o644, "Cannot execute {path}: Permission denied"),
        (
            "#!/no/such/program\n",
            0o755,
            "Cannot execute {path}: No such file or directory (it is there, but the program in its first line is not)",
        ),
        (
            "echo hello\n",
            0o755,
            "Cannot execute {path}: Exec format error (its first line does not name a program, such as #!/bin/sh)",
        ),
    ],
)
async def test_why_a_script_cannot_be_executed_is_told(
    shims: Shims, tmp_path: Path, content: str | None, mode: int, error: str
) -> None:
    path = tmp_path / "script"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    run = shims.start((str(path),))
    ending = await run.end()
    assert (ending.outcome, ending.error) == (How.SPAWN_FAILED, error.format(path=path))
    assert ending.started_at is None
    assert await started(run.folder, within=5) is None


async def test_a_shim_that_cannot_begin_says_why_and_runs_nothing(shims: Shims) -> None:
    run = shims.prepare("echo ran > effect")
    # As on a full disk, where there is no room for a status.
    pid = run.start_from_a_process_that_ends(most_bytes_in_a_file=3000)
    until(lambda: not is_alive(pid), within=5)
    ending = await run.end()
    assert (ending.outcome, ending.error) == (
        How.SPAWN_FAILED,
        "The shim did not start: OSError: [Errno 27] File too large",
    )
    assert inspect(run.folder) is ShimState.NEVER_STARTED
    assert not run.note("effect")


async def test_a_shim_that_comes_after_its_run_was_given_up_starts_nothing(shims: Shims) -> None:
    run = shims.prepare("echo ran > effect")
    run.folder.mkdir(parents=True, exist_ok=True)
    assert (await wait_ended(run.folder)).outcome is How.SPAWN_FAILED
    pid = run.start_from_a_process_that_ends()
    until(lambda: not is_alive(pid), within=5)
    assert not run.note("effect")


async def test_on_a_full_disk_the_shim_is_told_as_text(shims: Shims) -> None:
    run = shims.prepare("echo ran > effect")
    run.start_from_a_process_that_ends(most_bytes_in_a_file=8000)
    assert (await wait_ended(run.folder)).code == 0
    assert [path.name for path in run.folder.parent.iterdir()] == [run.folder.name]


async def test_nobody_waits_for_the_start_of_a_shim_that_is_over(shims: Shims, tmp_path: Path) -> None:
    run = shims.start("")
    until(lambda: not is_alive(run.pid or 0), within=5)
    began = time.monotonic()
    assert await started(tmp_path / "never-marked", within=60, pid=run.pid) is None
    assert time.monotonic() - began < 30
    assert (await run.end()).code == 0


async def test_no_folder_is_no_shim(shims: Shims, tmp_path: Path) -> None:
    assert inspect(tmp_path / "none") is ShimState.NEVER_STARTED
    cancel(tmp_path / "none")
    assert (await wait_ended(tmp_path / "none")).outcome is How.SPAWN_FAILED
    assert await started(tmp_path / "none", within=0.05) is None


def _until(name: str) -> str:
    return f"until [ -s {name} ]; do sleep 0.01; done"
