"""A runner whose scripts are another user's: what they have, what they cannot reach, and that a restart adopts them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.chassis.settings import load
from libs.contracts import ExecutionStatus, Reason
from libs.stack.process import run
from services.host_runner import confinement, process
from services.host_runner.bounds import Bounds
from services.host_runner.confinement import (
    CAPABILITIES,
    ConfinementError,
    bounds,
    missing_capabilities,
    prepare,
)
from services.host_runner.process import ShimState
from services.host_runner.scripts import list_scripts
from services.host_runner.settings import Settings
from tests.support.host_runner import trigger
from tests.support.script_lab import Lab
from tests.support.shims import is_alive
from tests.support.wait import until_async

pytestmark = pytest.mark.another_user

ROOT = Path(__file__).parents[2]
NUMBER = 53_000 + os.getpid() % 2000
PROBE = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
state, journal = Path(sys.argv[1]), os.path.realpath(sys.argv[0])
seen = {"cwd": os.getcwd(), "uid": os.getuid(), "environment": dict(os.environ), "could": []}
def attempt(name, act):
    try:
        act()
        seen["could"].append(name)
    except PermissionError:
        pass
    except OSError as error:
        seen["could"].append(f"{name}: {error}")
for file in ("credentials.json", "journal.sqlite", "journal.sqlite-wal", "lock", "devices.toml"):
    attempt(file, (state / file).read_bytes)
attempt("list the state", lambda: os.listdir(state))
attempt("list all work", lambda: os.listdir(state / "work"))
attempt("write to the state", (state / "new").touch)
attempt("write a script", Path(sys.argv[0]).with_name("new.py").touch)
attempt("change a script", lambda: os.chmod(sys.argv[0], 0o777))
attempt("look at all runs", lambda: os.listdir(state / "runs"))
Path("here").write_text("x")
Path(os.environ["RIGBEAT_ARTIFACTS_DIR"], "seen.json").write_text(json.dumps(seen))
print("SCRIPT_SUCCESS:true")
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Where everybody may go, which pytest's own folders are not."""
    place = Path(tempfile.mkdtemp(prefix="rigbeat-user-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def python() -> str:
    """One that every user may run; the tests' own may be root's alone."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    assert found is not None
    return found


def settings(place: Path, **given: str) -> Settings:
    values = {
        "HOST_NAME": "lab-1",
        "API_URL": "http://127.0.0.1:1",
        "SCRIPTS_DIR": str(place / "scripts"),
        "STATE_DIR": str(place / "state"),
        "SCRIPT_USER": str(NUMBER),
        "PYTHON": python(),
    }
    return load(Settings, {f"RIGBEAT_{name}": value for name, value in (values | given).items()})


def confined(place: Path, **given: str) -> Lab:
    """A runner as it starts, with secrets in its folder."""
    told = settings(place, **given)
    bound = bounds(told)
    state = told.state_dir
    state.mkdir(mode=0o700, exist_ok=True)
    lab = Lab(state, bound, told.scripts_dir, told.python, **told.script_environment)
    for name in ("credentials.json", "lock", "devices.toml"):
        (state / name).touch()
    prepare(told, bound)
    return lab


async def test_a_script_has_a_folder_of_its_own_and_nothing_of_the_runners(place: Path) -> None:
    lab = confined(place, SCRIPT_ENVIRONMENT='{"LAB": "north", "LANG": "C"}')
    lab.write("probe.py", PROBE)
    await lab.executions.start()
    one = trigger("probe", script_name="probe.py", userinterface_name=str(lab.place))
    lab.runner.perform(lab.runner.request(one))
    ended = await lab.end_of(one, 10)
    assert (ended.status, ended.message) == (ExecutionStatus.COMPLETED, None)
    artifacts, work = lab.place / "artifacts" / str(one.execution_id), lab.place / "work" / str(one.execution_id)
    seen = json.loads((artifacts / "seen.json").read_text())
    assert seen["could"] == []
    assert (seen["uid"], seen["cwd"]) == (NUMBER, str(work))
    environment = seen["environment"]
    assert environment["HOME"] == environment["TMPDIR"] == str(work)
    assert (environment["LAB"], environment["LANG"]) == ("north", "C")
    assert not {name for name in environment if "TOKEN" in name or "AMQP" in name or "SECRET" in name}
    assert stat.filemode(artifacts.stat().st_mode) == "drwx------"
    assert artifacts.stat().st_uid == os.geteuid(), "nobody else may change what is sent"
    await until_async(lambda: asyncio.to_thread(lambda: not work.exists()), within=5)
    assert (lab.place / "artifacts").is_dir()
    await lab.close()


async def test_a_restart_of_the_runner_adopts_it(place: Path) -> None:
    first = confined(place)
    first.write("long.sh", "#!/bin/sh\necho $$ > pid\nuntil [ -e go ]; do sleep 0.02; done\necho SCRIPT_SUCCESS:true\n")
    await first.executions.start()
    one = trigger("long", script_name="long.sh")
    first.runner.perform(first.runner.request(one))

    async def pid() -> int:
        return int((work / "pid").read_text() or 0) if (work / "pid").exists() else 0

    work, folder = (first.place / name / str(one.execution_id) for name in ("work", "runs"))
    script = await until_async(pid, within=10)
    assert _owner(script) == NUMBER
    await first.close()
    second = confined(place)
    await second.executions.start()
    assert process.inspect(folder) is ShimState.ALIVE
    assert is_alive(script)
    (work / "go").touch()
    assert (await second.end_of(one, 10)).status is ExecutionStatus.COMPLETED
    await until_async(lambda: asyncio.to_thread(lambda: not work.exists()), within=5)
    await second.close()


async def test_what_its_user_could_change_is_neither_listed_nor_run(place: Path) -> None:
    lab = confined(place)
    await lab.executions.start()
    for number, name in enumerate(("own.py", "open.py", "sub/inside.py")):
        path = lab.scripts / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("print('SCRIPT_SUCCESS:true')\n")
        changed = path if number < 2 else path.parent
        if number == 1:
            changed.chmod(0o646)
        else:
            os.chown(changed, NUMBER, 0)
        ended = await lab.run(f"odd-{number}", 10, script_name=name)
        assert (ended.reason, ended.message) == (
            Reason.SPAWN_FAILED,
            f"The script could not be started: {NUMBER}, the user that it would run as, may write to {changed}",
        )
    with capture_logs() as said:
        assert [one.name for one in list_scripts(lab.scripts, lab.executions._bench.bounds.user)] == ["health.py"]
    assert [one["event"] for one in said] == ["A script is left out"] * 3
    assert (await lab.run("good", 10)).status is ExecutionStatus.COMPLETED
    await lab.close()


def _owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _own_the_scripts(place: Path) -> None:
    os.chown(place / "scripts", NUMBER, 0)


def _open_what_is_above(place: Path) -> None:
    place.chmod(0o777)


def _shut_the_place(place: Path) -> None:
    place.chmod(0o700)


def _mislay_work(place: Path) -> None:
    (place / "elsewhere").mkdir()
    (place / "elsewhere").chmod(0o777)


@pytest.mark.parametrize(
    ("given", "change", "message"),
    [
        ({"SCRIPT_USER": "no-such-user"}, None, "RIGBEAT_SCRIPT_USER: there is no user no-such-user on this machine"),
        ({"SCRIPT_USER": "99999999999"}, None, "there is no user 99999999999"),
        ({"SCRIPT_USER": "0"}, None, "RIGBEAT_SCRIPT_USER: 0 is root"),
        ({"SCRIPT_USER": "root"}, None, "root is root; name a user"),
        ({"SCRIPT_USER": "", "SCRIPT_PROCESSES": "9"}, None, "RIGBEAT_SCRIPT_PROCESSES does not bind root"),
        ({}, _own_the_scripts, "RIGBEAT_SCRIPTS_DIR: {number}, the user of scripts, may write to {place}/scripts"),
        ({}, _open_what_is_above, "RIGBEAT_SCRIPTS_DIR: {number}, the user of scripts, may write to {place}, and so"),
        ({}, _shut_the_place, "RIGBEAT_SCRIPT_USER: {number} cannot enter {place}/scripts: it, and each folder above"),
        ({"PYTHON": "/etc/passwd"}, None, "RIGBEAT_SCRIPT_USER: {number} cannot run /etc/passwd"),
        ({"PYTHON": "/bin/false"}, None, "cannot run /bin/false (it ended with 1: without a word)"),
        ({"SCRIPT_WORK_DIR": "{place}/elsewhere"}, _mislay_work, "{number} may write to {place}/elsewhere, which must"),
        ({"SCRIPT_CGROUP": "/tmp/x"}, None, "RIGBEAT_SCRIPT_CGROUP: /tmp/x is not below /sys/fs/cgroup"),
        ({"SCRIPT_CGROUP": "/sys/fs/cgroup/a/../../../tmp"}, None, "is not below /sys/fs/cgroup"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence_at_the_start(
    place: Path, given: dict[str, str], change: Any, message: str
) -> None:
    for name in ("state", "scripts"):
        (place / name).mkdir()
    if change is not None:
        change(place)
    told = settings(place, **{name: value.format(place=place) for name, value in given.items()})
    with pytest.raises(ConfinementError) as error:
        prepare(told, bounds(told))
    assert message.format(number=NUMBER, place=place) in str(error.value)


def test_the_group_of_scripts_gets_its_controllers_or_the_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "CGROUPS", tmp_path)
    group = tmp_path / "scripts"
    confinement.prepare_cgroup(Bounds(cgroup=group))
    assert list(group.iterdir()) == [], "no limit needs a controller"
    confinement.prepare_cgroup(Bounds(memory_bytes=1 << 20, cgroup=group))
    assert (group / "cgroup.subtree_control").read_text() == "+memory"
    confinement.prepare_cgroup(Bounds(processes=9, cgroup=group))
    assert (group / "cgroup.subtree_control").read_text() == "+pids"
    (group / "cgroup.subtree_control").unlink()
    (group / "cgroup.subtree_control").mkdir()
    with pytest.raises(ConfinementError, match=f"RIGBEAT_SCRIPT_CGROUP: {group} cannot limit pids"):
        confinement.prepare_cgroup(Bounds(processes=9, cgroup=group))


def test_the_program_ends_with_the_sentence(place: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "RIGBEAT_HOST_NAME": "lab-1",
        "RIGBEAT_API_URL": "http://127.0.0.1:1",
        "RIGBEAT_SCRIPTS_DIR": str(place),
        "RIGBEAT_STATE_DIR": str(place / "state"),
        "RIGBEAT_DEVICES": '[{"device_id": "stb-1"}]',
        "RIGBEAT_SCRIPT_USER": "no-such-user",
    }
    ended = run([sys.executable, "-m", "services.host_runner"], env=environment, cwd=ROOT, within=30)
    said = "host-runner: RIGBEAT_SCRIPT_USER: there is no user no-such-user on this machine"
    assert (ended.code, said in ended.output) == (2, True), ended.output


@pytest.mark.parametrize(
    ("uid", "effective", "ambient", "missing"),
    [
        (0, "000001ffffffffff", "0", []),
        (0, "00000000a80425fb", "0", ["CAP_SYS_PTRACE"]),  # Docker's usual ones
        (1000, "000001ffffffffff", "0", list(CAPABILITIES)),
        (1000, "0", "00000000000800eb", []),
    ],
)
def test_what_a_runner_lacks_is_told(uid: int, effective: str, ambient: str, missing: list[str]) -> None:
    status = f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{effective}\nCapAmb:\t{ambient}\n"
    assert missing_capabilities(status) == missing
