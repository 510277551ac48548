"""The whole system as `rigbeat up` runs it, started once a session; what end-to-end tests need of it.

Its beats are short, its scripts are the examples and those of the end-to-end tests, its clock is moved forward by
shifting `ledger.now()` of its own database and never back: other tests of the session live in the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from libs.ledger import channels
from libs.stack.ports import free_port
from libs.stack.process import Child, start
from tests.support.versions import chosen
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
UP_SECONDS = 90.0


@dataclass
class System:
    """A running `rigbeat up`."""

    home: Path
    child: Child
    url: str
    client: httpx.Client
    superuser_url: str
    shifted: float = 0.0
    _stop_killing: dict[str, threading.Event] = field(default_factory=dict)

    @property
    def state_dir(self) -> Path:
        """Of the host's runner: journal and runs."""
        return self.home / "hosts" / "lab-1"

    @property
    def deployments_log(self) -> Path:
        """The log that people of the lab know."""
        return self.home / "deployments.log"

    def processes(self) -> dict[str, dict[str, Any]]:
        """HOME/processes.json by name."""
        return {each["name"]: each for each in json.loads((self.home / "processes.json").read_text())}

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Rows of one statement on the ledger, with all rights."""
        with psycopg.connect(self.superuser_url, options="-c search_path=ledger") as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return [] if cursor.description is None else cursor.fetchall()  # no column is a row, too

    def shift(self, seconds: float) -> None:
        """Let `ledger.now()` be so much further ahead from now on, and wake who sleeps by the old time."""
        assert seconds >= 0, "time of a shared system only goes forward"
        self.shifted += seconds
        self.sql(
            "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE"
            f" AS 'SELECT clock_timestamp() + interval ''{self.shifted!r} seconds'''"
        )
        self.sql("SELECT pg_notify(%s, '')", channels.DUE)

    def wait_until_ready(self, *, within: float) -> None:
        """Until API, broker, ledger and the host answer."""

        def ready() -> bool:
            try:
                if self.client.get("/readyz").status_code != httpx.codes.OK:
                    return False
                hosts = self.client.get("/api/v1/hosts").json()["items"]
            except (httpx.TransportError, KeyError):
                return False
            return any(host["name"] == "lab-1" and host["status"] == "online" for host in hosts)

        until(ready, within=within, what="the system is ready")

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """`kill -9` of a process, and of every successor that `rigbeat up` starts, until the end of the block."""
        first = int(self.processes()[name]["pid"])
        over = threading.Event()

        def keep_killing() -> None:
            while not over.wait(0.01):
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, json.JSONDecodeError):
                    pid = int(self.processes()[name]["pid"])
                    if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                        os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=keep_killing, name=f"killer of {name}")
        killer.start()
        try:
            until(lambda: not _lives(first), within=10, what=f"{name} is dead")
            yield
        finally:
            over.set()
            killer.join()
        until(lambda: _lives(int(self.processes()[name]["pid"])), within=30, what=f"{name} was started again")

    def wait_for_file(self, path: Path, *, within: float = 20) -> None:
        """Until the file is there."""
        until(path.exists, within=within, what=str(path))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment(home: Path, scripts: Path) -> dict[str, str]:
    """What `rigbeat up` is told: production but for its beats."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "USER") if name in os.environ}  # noqa: TID251
    return (
        inherited
        | chosen().environment()
        | {
            "RIGBEAT_HEARTBEAT_SECONDS": "1",
            "RIGBEAT_SWEEP_SECONDS": "1",
            "RIGBEAT_SCRIPTS_DIR": str(scripts),
            "RIGBEAT_DEPLOYMENTS_LOG": str(home / "deployments.log"),
            "RIGBEAT_GRACE_SECONDS": "2",
            "NO_COLOR": "1",
        }
    )


def start_up(home: Path, scripts: Path, arguments: Sequence[str] = ("--no-demo",)) -> tuple[Child, str]:
    """Start `rigbeat up` and wait until it says that it is up; its process and its address."""
    log = home.parent / f"{home.name}-up.log"
    port = free_port()
    child = start(
        "rigbeat-up",
        [sys.executable, "-m", "cli", "up", "--home", str(home), "--port", str(port), *arguments],
        env=environment(home, scripts),
        log=log,
        cwd=ROOT,
    )
    try:
        until(
            lambda: "Rigbeat is up" in log.read_text() or child.poll() is not None,
            within=UP_SECONDS,
            what="Rigbeat is up",
        )
        assert child.poll() is None, log.read_text()
    except BaseException:
        stop_up(child)
        raise
    return child, f"http://127.0.0.1:{port}"


def stop_up(child: Child) -> None:
    """End it as Ctrl-C does; after half a minute by force, with all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(child.pid).children(recursive=True)
        child.send(signal.SIGTERM)
        try:
            until(lambda: child.poll() is not None, within=30, what="rigbeat up has stopped")
        finally:
            for process in [psutil.Process(child.pid), *family] if child.poll() is None else family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The running system."""
    with running_system(tmp_path_factory.mktemp("system")) as running:
        yield running


@contextlib.contextmanager
def running_system(folder: Path) -> Iterator[System]:
    """A whole system in this folder, stopped and removed at the end."""
    home = folder / "home"
    scripts = home.parent / "scripts"
    for folder in (scripts, scripts.with_name("suite")):
        shutil.copytree(ROOT / "examples" / folder.name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests" / "support" / "scripts" / "gated.py", scripts)
    child, url = start_up(home, scripts)
    try:
        token = (home / "token").read_text().strip()
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=15, trust_env=False
        ) as client:
            yield System(home, child, url, client, _superuser_url(home))
    finally:
        stop_up(child)
        _remove(home)


def _superuser_url(home: Path) -> str:
    from libs.stack.postgres import Postgres  # only where a whole system is wanted

    port = json.loads((home / "processes.json").read_text())
    [number] = [each["port"] for each in port if each["name"] == "postgres"]
    return Postgres(home / "postgres", port=number, log=home / "unused.log").url("rigbeat")


def _remove(home: Path) -> None:
    from libs.stack.postgres import Postgres

    Postgres(home / "postgres", log=home / "unused.log").destroy()
