"""`rigbeat up` as people use it: the real command, its real children, and what is left of them when it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from cli.errors import CliError, ExitCode
from cli.up import database
from libs.stack.ports import free_port
from libs.stack.postgres import Postgres
from libs.stack.process import Child, Finished, run, start
from tests.support.processes import is_gone
from tests.support.tls import Authority
from tests.support.versions import chosen
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
NAMES = ["postgres", "rabbitmq", "api-1", "scheduler-1", "scheduler-2", "host-runner-lab-1"]
UP_SECONDS = 90.0
DOOR, DOOR_PORT = "127.0.0.2", free_port()
"""Loopback, too, but not the address of anything else: as good as another interface."""
CLI = [sys.executable, "-m", "cli"]
CREATE = ["deployments", "create", "--cron", "0 0 1 1 *", "--host", "lab-1", "--script"]
WAITS = ["--on-device-busy", "queue"]  # a sample may have just begun there

pytestmark = pytest.mark.timeout(300)


@dataclass
class Up:
    """A `rigbeat up` on a home of its own."""

    home: Path
    child: Child
    port: int

    def printed(self) -> str:
        return self.child.log.read_text()

    def processes(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in json.loads((self.home / "processes.json").read_text())}

    def status(self) -> dict[str, str]:
        return {each["name"]: each["status"] for each in rigbeat_json(self.home, "status")}

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.child.pid).children(recursive=True)


def _is_of_a_run(process: psutil.Process) -> bool:
    try:
        return "RIGBEAT_EXECUTION_ID" in process.environ()
    except psutil.Error:
        return True  # gone already


def environment(home: Path) -> dict[str, str]:
    basics = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251 - to run at all
    return (
        basics
        | chosen().environment()
        | {
            "RIGBEAT_HEARTBEAT_SECONDS": "1",
            "RIGBEAT_WEB_WORKERS": "1",
            "RIGBEAT_DEPLOYMENTS_LOG": str(home.parent / "deployments.log"),
            "RIGBEAT_SCRIPTS_DIR": str(home.parent / "scripts"),
        }
    )


def rigbeat(home: Path, *arguments: str) -> Finished:
    """A short command, to its end."""
    return run([*CLI, *arguments, "--home", home], env=environment(home), cwd=ROOT, within=60)


def rigbeat_json(home: Path, *arguments: str) -> Any:
    ended = rigbeat(home, *arguments, "--json")
    assert ended.code == 0, ended.output
    return json.loads(ended.output)


def start_up(home: Path, port: int, *options: str) -> Up:
    """Until it says that it is up."""
    if not (scripts := home.parent / "scripts").exists():
        shutil.copytree(ROOT / "examples" / "scripts", scripts)
        shutil.copy(ROOT / "tests" / "support" / "scripts" / "gated.py", scripts)
    log = home.parent / f"up-{len(list(home.parent.glob('up-*.log')))}.log"
    command = [*CLI, "up", "--home", str(home), "--port", str(port), *options]
    up = Up(home, start("rigbeat-up", command, env=environment(home), log=log, cwd=ROOT), port)
    try:
        until(lambda: "Rigbeat is up" in up.printed() or up.child.poll() is not None, within=UP_SECONDS, what="up")
        assert up.child.poll() is None, up.printed()
    except BaseException:
        up.child.kill()
        raise
    return up


def remove(home: Path) -> None:
    Postgres(home / "postgres", log=home / "postgres.log").destroy()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that runs while this module's tests look at it."""
    home = tmp_path_factory.mktemp("up") / "home with a space"
    authority = Authority.made(home.parent / "ca")
    door = authority.issue(DOOR)
    given = ["--bind", DOOR, "--tls-port", str(DOOR_PORT), "--tls-cert", str(door.cert), "--tls-key", str(door.key)]
    started = start_up(home, free_port(), "--no-demo", *given)
    try:
        yield started
    finally:
        started.child.terminate(30)
        remove(home)


def test_it_says_where_it_is_and_who_runs(up: Up) -> None:
    assert f"Rigbeat is up: http://127.0.0.1:{up.port}\n" in up.printed()
    processes = up.processes()
    assert list(processes)[: len(NAMES)] == NAMES
    assert processes["api-1"]["port"] == up.port
    programs = {name: " ".join(psutil.Process(each["pid"]).cmdline()) for name, each in processes.items()}
    assert "bin/postgres" in programs["postgres"]
    assert "beam.smp" in programs["rabbitmq"]
    assert "services.api" in programs["api-1"]
    assert "services.host_runner" in programs["host-runner-lab-1"]
    assert set(up.status().values()) == {"up"}


def test_the_link_that_it_prints_signs_a_browser_in_once(up: Up) -> None:
    [link] = re.findall(r"^Sign in, once, within ten minutes: (\S+)$", up.printed(), re.MULTILINE)
    where, _, code = link.partition("?code=")
    with httpx.Client(base_url=f"http://127.0.0.1:{up.port}") as browser:
        assert browser.get(link).status_code == 200
        assert browser.post(where, data={"code": code}).headers["location"] == "/"
        assert browser.get("/api/v1/session").json()["role"] == "operator"
        assert browser.post(where, data={"code": code}).status_code == 401
        another = rigbeat_json(up.home, "login-link")["url"]
        assert another.startswith(f"{where}?code=")
        assert another != link


def test_other_machines_come_in_by_tls_with_a_token_and_nowhere_else(up: Up) -> None:
    context = ssl.create_default_context(cafile=up.home.parent / "ca" / "ca.pem")
    url = f"https://{DOOR}:{DOOR_PORT}"
    assert f"Other machines reach it at {url}" in up.printed()
    with httpx.Client(base_url=url, verify=context, trust_env=False) as client:
        until(lambda: client.get("/readyz").status_code == httpx.codes.OK, within=10, what="it is ready, too")
        assert client.get("/api/v1/hosts").status_code == httpx.codes.UNAUTHORIZED
        token = {"Authorization": f"Bearer {(up.home / 'token').read_text().strip()}"}
        [host] = client.get("/api/v1/hosts", headers=token).json()["items"]
        assert host["name"] == "lab-1"
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{DOOR}:{DOOR_PORT}/readyz", trust_env=False)
    listening = {
        (each.laddr.ip, each.laddr.port)
        for process in up.family()
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }
    assert {each for each in listening if each[0] not in {"127.0.0.1", "::1"}} == {(DOOR, DOOR_PORT)}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            ["--bind", "0.0.0.0"],
            "Tokens would cross the network to 0.0.0.0 in the clear: give --tls-cert and --tls-key",
        ),
        (["--bind", "lab.example.org", "--tls-cert", "x"], "give --tls-cert and --tls-key"),
        (["--tls-cert", "x", "--tls-key", "y"], "say with --bind on which address"),
    ],
)
def test_no_other_machine_comes_in_without_tls(given: list[str], sentence: str, tmp_path: Path) -> None:
    ended = rigbeat(tmp_path / "home", "up", *given)
    assert ended.code == ExitCode.USAGE
    assert sentence in ended.output
    assert not (tmp_path / "home").exists()


def test_secrets_are_for_their_owner_alone(up: Up) -> None:
    for name in ("token", "secrets.json"):
        assert (up.home / name).stat().st_mode & 0o777 == 0o600
    passwords = json.loads((up.home / "secrets.json").read_text())["passwords"]
    everything = [" ".join(process.cmdline()) for process in up.family()]
    assert not [line for line in everything for word in passwords.values() if word in line]
    assert not [word for word in passwords.values() if word in up.printed()]


def test_the_command_line_finds_it_by_its_home(up: Up) -> None:
    [host] = rigbeat_json(up.home, "hosts", "list")
    assert (host["name"], host["status"]) == ("lab-1", "online")
    assert {device["device_id"] for device in host["devices"]} == {"stb-1", "stb-2", "router-1"}
    assert {script["name"] for script in rigbeat_json(up.home, "scripts", "list")} >= {"health.py", "zap.py", "soak.py"}
    assert rigbeat_json(up.home, "deployments", "list") == []


def test_a_run_goes_through_the_whole_system(up: Up) -> None:
    options = ["--device", "stb-1", "--name", "once", "--parameters", "--limit 1"]
    [made] = rigbeat_json(up.home, *CREATE, "health.py", *options)
    execution = rigbeat_json(up.home, "deployments", "run", "once")
    log = rigbeat(up.home, "executions", "log", "--follow", execution["id"])
    assert (log.code, "SCRIPT_SUCCESS:true" in log.output) == (0, True), log.output

    def ended() -> Any:
        shown = rigbeat_json(up.home, "executions", "show", execution["id"])
        return shown if shown["status"] not in {"triggered", "running"} else None

    assert until(ended, within=20)["status"] == "completed"
    assert rigbeat(up.home, "deployments", "delete", made["id"]).code == 0


def test_a_second_one_on_the_same_home_is_refused(up: Up) -> None:
    second = rigbeat(up.home, "up", "--port", str(free_port()))
    assert second.code == 1
    assert f"pid {up.child.pid}" in second.output
    assert len(second.output.splitlines()) == 1


def test_a_port_that_is_taken_is_refused(up: Up, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        refused = rigbeat(tmp_path / "home", "up", "--port", str(taken))
    assert refused.code == 2
    assert f"Port {taken} for the API is taken" in refused.output
    assert not (tmp_path / "home" / "processes.json").exists()


@pytest.mark.parametrize("name", NAMES)
def test_what_dies_is_started_again_and_said(up: Up, name: str) -> None:
    before = up.processes()[name]
    os.kill(before["pid"], signal.SIGKILL)

    def another() -> bool:
        return up.processes()[name]["pid"] != before["pid"] and up.status()[name] == "up"

    until(lambda: is_gone(psutil.Process(before["pid"])) if psutil.pid_exists(before["pid"]) else True, within=5)
    until(another, within=45, what=f"{name} runs again")
    assert f"{name} (pid {before['pid']}) was ended by SIGKILL; it is started again" in up.printed()
    assert up.processes()[name]["port"] == before["port"]

    def online() -> bool:
        listed = rigbeat(up.home, "hosts", "list", "--json")
        return listed.code == 0 and json.loads(listed.output)[0]["status"] == "online"

    until(online, within=45, what="the host is online again")


def test_while_it_is_down_status_says_restarting(up: Up) -> None:
    seen: set[str] = set()
    name = "scheduler-2"

    def kill_and_look() -> bool:
        pid = up.processes()[name]["pid"]
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
        seen.add(up.status()[name])
        return "restarting" in seen

    until(kill_and_look, within=30, what="restarting")
    assert "down" not in seen
    until(lambda: up.status()[name] == "up", within=30)


def test_stop_start_and_kill(tmp_path: Path) -> None:
    home = tmp_path / "home"
    port = free_port()
    started: list[Up] = []
    family: list[psutil.Process] = []
    try:
        first = start_up(home, port)
        started.append(first)
        # A sample's script outlives it, as it should.
        family += [each for each in first.family() if not _is_of_a_run(each)]
        token = (home / "token").read_text()
        samples = {each["name"]: each for each in rigbeat_json(home, "deployments", "list")}
        assert {each["script_name"] for each in samples.values()} == {
            *("health.py", "zap.py", "soak.py", "dns.py", "suite.py")
        }
        # What runs longer would be seen as left behind.
        assert rigbeat(home, "deployments", "delete", *(samples.keys() - {"dns-router-1"})).code == 0
        ports = {name: each["port"] for name, each in first.processes().items()}
        parameters = f"--effects {tmp_path} --gate open"
        [long_one] = rigbeat_json(home, *CREATE, "gated.py", "--parameters", parameters, "--device", "stb-2", *WAITS)
        execution = rigbeat_json(home, "deployments", "run", long_one["id"])["id"]
        until(lambda: rigbeat_json(home, "executions", "show", execution)["status"] == "running", within=20)

        assert first.child.terminate(25) == 0, first.printed()
        assert [process for process in family if not is_gone(process)] == []
        assert set(first.status().values()) == {"down"}
        assert rigbeat(home, "deployments", "list").code == 3

        again = start_up(home, port)
        started.append(again)
        family += again.family()
        assert (home / "token").read_text() == token
        listed = {each["name"] for each in rigbeat_json(home, "deployments", "list")}
        assert listed == {"dns-router-1", long_one["name"]}
        assert {name: each["port"] for name, each in again.processes().items()} == ports
        # The script has waited while nothing of the system ran, and is not begun again.
        (tmp_path / "open").touch()
        until(lambda: rigbeat_json(home, "executions", "show", execution)["status"] == "completed", within=20)
        assert (tmp_path / "effects.log").read_text() == f"{execution} stb-2\n"

        again.child.send(signal.SIGKILL)
        again.child.wait(5)
        until(lambda: all(is_gone(process) for process in family), within=10, what="no orphan")
        assert set(again.status().values()) == {"down"}
    finally:
        for each in started:
            each.child.kill()
        for process in family:
            if not is_gone(process):
                process.kill()
        remove(home)


def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [*CLI, "up", "--home", str(home), "--port", str(free_port())]
    child = start("rigbeat-up", command, env=environment(home), log=tmp_path / "up.log", cwd=ROOT)
    family: list[psutil.Process] = []
    try:
        until(lambda: "PostgreSQL" in child.log.read_text(), within=30, what="the first server is there")
        family += psutil.Process(child.pid).children(recursive=True)
        assert child.terminate(20, signal.SIGINT) == 1
        assert "Stopped before Rigbeat was up" in child.log.read_text()
        until(lambda: all(is_gone(process) for process in family), within=5, what="nothing is left")
    finally:
        child.kill()
        remove(home)


def test_passwords_of_roles_that_another_system_lives_by_are_left_alone(tmp_path: Path) -> None:
    """Roles belong to the whole server: where it was given, a second home is refused and the first goes on."""
    server = chosen().postgres(tmp_path / "server", log=tmp_path / "server.log", durable=False)
    try:
        server.start()
        given = database.Database(server.url(), server.url())
        first, second = ({role: f"{which} {role}" for role in database.ROLES} for which in ("first", "second"))
        database.migrated(given, first)
        database.migrated(given, first)
        with pytest.raises(CliError, match="exists on the given database server"):
            database.migrated(given, second)
        psycopg.connect(given.url("rigbeat_api", first)).close()
    finally:
        server.destroy()
