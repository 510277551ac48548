"""Scripts of another user under real shims: who they are, what they cannot reach, and that each limit holds."""

from __future__ import annotations

import os
import posix
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from libs.stack.process import start
from services.host_runner.bounds import Bounds, User
from services.host_runner.core.ending import Cause, How
from services.host_runner.interpreter import interpreter
from services.host_runner.process import cancel
from services.host_runner.run_dir import read_ending
from services.host_runner.shim.tree import Tree
from tests.support.shims import Shims, is_alive, kill
from tests.support.wait import until

pytestmark = pytest.mark.another_user

# Numbers without an account, and others at each run of the tests: a limit of processes is one of a number.
NUMBER = 61_000 + os.getpid() % 2000
USER = User(NUMBER, NUMBER + 2000, (NUMBER + 4000,), "scripts")
CONFINED = Bounds(user=USER)
FOREVER = "while :; do sleep 0.05; done"
MANY = """
import os, signal
born = []
try:
    for number in range(40):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        born.append(pid)
except BlockingIOError:
    pass
print(len(born), flush=True)
open("born", "w").write(str(len(born)))
if os.path.exists("stay"):
    signal.pause()
for pid in born:
    os.kill(pid, signal.SIGKILL)
"""


@pytest.fixture
def shims() -> Iterator[Shims]:
    """In a folder that everybody may enter, which pytest's own are not; fails a test that leaves a process behind."""
    place = Path(tempfile.mkdtemp(prefix="rigbeat-bounds-"))
    place.chmod(0o755)
    made = Shims(place)
    left = []
    try:
        yield made
    finally:
        left = made.close()
        shutil.rmtree(place)
    assert not left, f"processes were left of {left}"


def python(code: str) -> tuple[str, ...]:
    return ("/usr/bin/env", "python3", "-I", "-S", "-c", code)


async def test_the_script_is_another_user_without_any_right_of_the_runner(shims: Shims, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("no")
    run = shims.start(
        "id -u; id -g; id -G; grep -E '^(NoNewPrivs|CapPrm|CapEff|CapInh|CapAmb)' /proc/self/status;"
        "echo to the output > /dev/stdout; echo to the errors > /dev/stderr;"
        f"for file in {secret} /proc/{os.getpid()}/environ /proc/$PPID/environ"
        f" {shims.folder}/runs/$RIGBEAT_EXECUTION_ID/output; do cat $file && echo READ $file; done;"
        f"kill -0 $PPID && echo THE SHIM; kill -0 {os.getpid()} && echo THE RUNNER;"
        "echo mine > file; ls -ln file",
        bounds=CONFINED,
    )
    ending = await run.end()
    lines = run.output.splitlines()
    assert ending.code == 0
    assert lines[:3] == [str(USER.uid), str(USER.gid), f"{USER.gid} {USER.groups[0]}"]
    facts = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert facts == {**dict.fromkeys(("CapPrm", "CapEff", "CapInh", "CapAmb"), "0" * 16), "NoNewPrivs": "1"}
    assert {"to the output", "to the errors"} <= set(lines)
    assert run.output.count("ermission denied") == 4
    assert run.output.count("not permitted") == 2
    assert "READ" not in run.output
    assert "THE " not in run.output
    assert f" {USER.uid} {USER.gid} " in lines[-1]


async def test_it_may_gain_rights_if_that_is_wanted(shims: Shims) -> None:
    run = shims.start("grep NoNewPrivs /proc/self/status", bounds=Bounds(user=USER, may_gain_rights=True))
    await run.end()
    assert run.output == "NoNewPrivs:\t0\n"


async def test_a_folder_that_the_user_cannot_enter_is_told(shims: Shims) -> None:
    run = shims.prepare("echo ran", bounds=CONFINED)
    os.chown(run.spec.cwd, 0, 0)
    run.spec.cwd.chmod(0o700)
    ending = await run.start().end()
    assert (ending.outcome, ending.error) == (How.SPAWN_FAILED, f"Cannot enter {run.spec.cwd}: Permission denied")


async def test_the_time_limit_ends_the_whole_tree(shims: Shims) -> None:
    run = shims.start(
        "trap '' TERM; echo $$ > pid; ( setsid sh -c \"trap '' TERM; echo \\$\\$ > daemon; exec env -i sleep 60\" & );"
        + FOREVER,
        bounds=CONFINED,
        timeout=3.0,  # time enough for both to say that they ignore it
        grace=0.3,
    )
    ending = await run.end()
    assert (ending.outcome, ending.signal, ending.cause) == (How.SIGNALLED, "SIGKILL", Cause.TIMED_OUT)
    assert run.pid_in("daemon")
    assert not is_alive(run.pid_in("daemon"))
    assert not is_alive(run.pid_in("pid"))


async def test_a_killed_shim_takes_its_script_along_and_what_is_left_is_found(shims: Shims) -> None:
    run = shims.start(
        f"trap '' TERM; ( setsid sh -c 'trap : HUP; echo $$ > daemon; exec sleep 60' & ); echo $$ > pid; {FOREVER}",
        bounds=CONFINED,
    )
    script, daemon = until(lambda: run.pid_in("pid"), within=5), until(lambda: run.pid_in("daemon"), within=5)
    kill(run.pid or 0)
    until(lambda: not is_alive(script), within=5)
    assert is_alive(daemon)
    assert (await run.end()).interrupted
    assert not is_alive(daemon)


@pytest.mark.parametrize(
    ("command", "limit", "code", "signal", "said"),
    [
        (python("bytearray(300 << 20)"), {"memory_bytes": 64 << 20}, 1, None, "MemoryError"),
        (python("print(len(bytearray(300 << 20)))"), {"memory_bytes": 1 << 30}, 0, None, str(300 << 20)),
        (("/usr/bin/head", "-c", "9000", "/dev/zero"), {"file_bytes": 4096}, 0, None, ""),
        ("head -c 9000 /dev/zero > big; echo", {"file_bytes": 4096}, 0, None, "File size limit exceeded"),
        ("exec head -c 9000 /dev/zero > big", {"file_bytes": 4096}, None, "SIGXFSZ", ""),
        (python("open('big', 'wb').write(bytes(9000))"), {"file_bytes": 4096}, 1, None, "File too large"),
        (python("all = [open('/dev/null') for _ in range(40)]"), {"open_files": 32}, 1, None, "Too many open files"),
    ],
    ids=["memory", "enough memory", "output is no file", "file", "file by the script", "file in Python", "open files"],
)
async def test_each_limit_holds(
    shims: Shims, command: str | tuple[str, ...], limit: dict[str, int], code: int | None, signal: str | None, said: str
) -> None:
    run = shims.start(command, bounds=Bounds(user=USER, **limit))  # type: ignore[arg-type] # the limits are numbers
    ending = await run.end()
    assert (ending.code, ending.signal) == (code, signal), run.output
    assert said in run.output
    assert not (run.spec.cwd / "big").exists() or (run.spec.cwd / "big").stat().st_size <= 4096


async def test_the_output_is_capped(shims: Shims) -> None:
    run = shims.start("head -c 100000 /dev/zero; echo; echo SCRIPT_SUCCESS:true", bounds=CONFINED, cap=1024)
    ending = await run.end()
    assert (ending.code, ending.success_marker) == (0, True)
    assert run.output.endswith("[rigbeat: output capped at 1024 bytes]\n")
    assert ending.dropped_bytes == 100_000 - 1024 + len("\nSCRIPT_SUCCESS:true\n")


async def test_the_user_has_no_more_processes_than_it_may_have(shims: Shims) -> None:
    # A number of its own: what was killed elsewhere may still be waiting for init to take it away.
    bounds = Bounds(user=replace(USER, uid=NUMBER + 8000), processes=6)
    first = shims.prepare(python(MANY), bounds=bounds)
    (first.spec.cwd / "stay").touch()
    first.start()
    until(lambda: first.note("born"), within=10)
    assert first.note("born") == "5"
    # The number is counted when a process is born; who becomes the user is only kept out once there are too many.
    second = shims.start("echo there > there; exec sleep 30", bounds=bounds)
    until(lambda: second.note("there"), within=10)
    ending = await shims.start("echo ran", bounds=bounds).end()
    said = "(the user of scripts has as many processes as it may have)"
    assert (ending.outcome, ending.error) == (
        How.SPAWN_FAILED,
        f"Cannot execute /bin/sh: Resource temporarily unavailable {said}",
    )
    for run in (first, second):
        cancel(run.folder)
        assert (await run.end()).cause is Cause.CANCELLED
    assert (await shims.start("echo ran", bounds=bounds).end()).code == 0


async def test_a_limit_is_never_above_what_the_runner_has(shims: Shims) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    run = shims.start("ulimit -n", bounds=Bounds(user=USER, open_files=hard * 2))
    assert (await run.end()).code == 0
    assert run.output == f"{hard}\n"


async def test_a_runner_with_the_capabilities_alone_will_do(shims: Shims) -> None:
    run = shims.prepare("id -u; grep -E '^(CapPrm|CapAmb)' /proc/self/status; exec sleep 60", bounds=CONFINED)
    runs = run.folder.parent
    run.folder.mkdir(parents=True)
    for folder in (runs, run.folder):
        os.chown(folder, NUMBER + 6000, NUMBER + 6000)
    names = "chown,dac_override,fowner,kill,setgid,setuid,sys_ptrace"
    held = "+" + names.replace(",", ",+")
    command = [
        *("/usr/bin/setpriv", f"--reuid={NUMBER + 6000}", f"--regid={NUMBER + 6000}", "--clear-groups"),
        *(f"--inh-caps={held}", f"--ambient-caps={held}", *interpreter(sys.executable, shims.folder)),
        *(str(run.folder), "--timeout", "3", "--grace", "1", "--max-output", "9999", "--cwd", str(run.spec.cwd)),
        *(*CONFINED.options(), "--", *run.spec.argv),
    ]
    log = shims.folder / "log"
    shim = start("shim", command, env=dict(run.spec.env), log=log, cwd=Path("/"))
    assert shim.wait(20) == 0, log.read_text()
    ending = read_ending(run.folder)
    assert (ending.signal, ending.cause) == ("SIGTERM", Cause.TIMED_OUT)
    assert run.output.split() == [str(USER.uid), "CapPrm:", "0" * 16, "CapAmb:", "0" * 16]


async def test_without_the_group_that_is_to_limit_it_nothing_runs(shims: Shims, tmp_path: Path) -> None:
    # A folder like any other: the kernel takes no limit there.
    run = shims.start("echo ran > effect", bounds=Bounds(user=USER, processes=9, cgroup=tmp_path))
    ending = await run.end()
    group = tmp_path / f"rigbeat-{run.execution_id}"
    error = f"Cannot start a process: No such file or directory ({group})"
    assert (ending.outcome, ending.error) == (How.SPAWN_FAILED, error)
    assert not run.note("effect")
    assert not list(os.scandir(tmp_path))


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ("memory.swap.max", "the kernel starts none in "),
        ("memory.max", "No such file or directory "),
        ("pids.max", "No such file or directory "),
    ],
)
def test_a_kernel_that_does_not_count_swap_limits_the_rest(tmp_path: Path, missing: str, error: str) -> None:
    # A folder like any other again, in which a file that is there may be written; `fork` gets as far as to start there.
    group = tmp_path / "group"
    group.mkdir()
    limits = [(name, "1") for name in ("memory.max", "memory.swap.max", "pids.max")]
    for name, _ in limits:
        if name != missing:
            (group / name).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posix, "mkdir", lambda _path, _mode: None)
        with pytest.raises(OSError, match=error):
            Tree(str(group), limits).fork()
    if missing == "memory.swap.max":
        assert [(group / name).read_text() for name in ("memory.max", "pids.max")] == ["1", "1"]


def test_what_the_group_tells_is_told(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path), [])
    tree._has_cgroup = True
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "pids.events").write_text("max 0\n")
    assert tree.events() == "memory:2"
    (tmp_path / "pids.events").write_text("max 7\n")
    assert tree.events() == "memory:2,processes:7"


def test_limits_of_a_tree_are_its_groups_and_those_of_each_process_are_not() -> None:
    all_of_it = Bounds(memory_bytes=1 << 20, processes=5, file_bytes=2048, cgroup=Path("/sys/fs/cgroup/x"))
    assert tuple(all_of_it.options()) == (
        *("--cgroup", "/sys/fs/cgroup/x", "--cgroup-limits", "memory.max=1048576,memory.swap.max=0,pids.max=5"),
        *("--rlimits", f"{resource.RLIMIT_FSIZE}=2048"),
    )
    assert tuple(Bounds().options()) == ()
