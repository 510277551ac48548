"""The stage of the fault suite: servers, links that can be cut, and every service as the test build, each one killable.

Two schedulers; an API with one web worker and its ingest, and a second ingest; two hosts with a runner each, which came
in by a secret and have users of the broker of their own. Every process reaches each server over a link of its own, the
broker and the API with TLS, and the ledger too if asked for. Beats and time limits are short: what takes minutes in
production takes seconds here. Time is `ledger.now()` of its own database, moved forward from fire to fire.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from libs.ledger import channels
from libs.stack.ports import free_port
from libs.stack.postgres import Postgres
from libs.stack.rabbitmq import RabbitMQ
from services.host_runner.leftovers import kill_leftovers
from tests.chaos.actor import Actor
from tests.chaos.small_disks import Places, unmount
from tests.faults import orders
from tests.support.ledger import LedgerDatabase, made_ledger
from tests.support.link import Link, Links
from tests.support.tls import NAME, Authority
from tests.support.versions import chosen
from tests.support.wait import until, until_after
from tests.support.watcher import executions_below

ROOT = Path(__file__).parents[2]
HOSTS: Mapping[str, tuple[str, ...]] = {"lab-1": ("stb-1", "stb-2", "stb-3"), "lab-2": ("stb-1",)}
SCHEDULERS = ("scheduler-1", "scheduler-2")
READY_SECONDS = 60.0
RECOVERY_SECONDS = 20.0
SHORT = {
    "RIGBEAT_SWEEP_SECONDS": "0.5",
    "RIGBEAT_REPUBLISH_SECONDS": "5",
    "RIGBEAT_OFFLINE_SECONDS": "10",
    "RIGBEAT_HOST_LOST_MARGIN_SECONDS": "5",
    "RIGBEAT_CONFIRM_SECONDS": "3",
    "RIGBEAT_HEARTBEAT_SECONDS": "0.5",
    "RIGBEAT_GRACE_SECONDS": "1",
    "RIGBEAT_MAX_OUTPUT_BYTES": "1048576",
    "RIGBEAT_WEB_WORKERS": "1",
    "RIGBEAT_DECLARE_SECONDS": "2",
    "RIGBEAT_LOG_FORMAT": "json",
    "PYTHONUNBUFFERED": "1",
}


_NOTE_WHAT_MOVES_BACK = """
    CREATE TABLE ledger.moved_back (execution_id uuid, deployment_id uuid, was text, became text);
    CREATE FUNCTION ledger.note_moved_back() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        INSERT INTO ledger.moved_back VALUES (old.id, old.deployment_id, old.status, new.status);
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_moved_back AFTER UPDATE ON ledger.deployment_executions FOR EACH ROW
    WHEN (NOT old.presumed AND new.status <> old.status
          AND (old.status IN ('completed', 'failed', 'cancelled', 'skipped')
               OR (old.status = 'running' AND new.status IN ('triggered', 'queued'))
               OR (old.status = 'queued' AND new.status = 'triggered')))
    EXECUTE FUNCTION ledger.note_moved_back();
"""
"""What is told by a host stands: who moves a row back may mend it again before anybody looks."""


def runner_of(host: str) -> str:
    """The name of the host's runner."""
    return f"runner-{host}"


@dataclass
class Stage:
    """Made by `build`; everything that a row may touch."""

    folder: Path
    postgres: Postgres
    rabbitmq: RabbitMQ
    database: LedgerDatabase
    links: Links
    authority: Authority
    actors: dict[str, Actor] = field(default_factory=dict)
    lines: dict[tuple[str, str], Link] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=httpx.Client)
    places: Places | None = None
    shifted: float = 0.0
    clocks: dict[str, float] = field(default_factory=dict)
    """Of processes whose clock is kept so much ahead of the ledger's; the others have the true time."""

    @property
    def faults(self) -> Path:
        """Where orders are given."""
        return self.folder / "faults"

    @property
    def scripts(self) -> Path:
        """What hosts can run."""
        return self.folder / "scripts"

    def state_dir(self, host: str) -> Path:
        """Of the host's runner: journal and runs."""
        return self.folder / "hosts" / host

    # --- the ledger and its clock

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Rows of one statement on the ledger, with all rights, by no link."""
        with self._connected() as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return [] if cursor.description is None else cursor.fetchall()  # no column is a row, too

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A server that recovers from a crash lets nobody in for a moment."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                return psycopg.connect(
                    self.database.superuser_url, options="-c search_path=ledger -c lock_timeout=20s", connect_timeout=5
                )
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            until_after(0.1)

    def shift(self, seconds: float) -> None:
        """Let `ledger.now()` be so much further on, and wake who sleeps by the old time."""
        self.shifted += seconds
        self.sql(
            "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE"
            f" AS 'SELECT clock_timestamp() + interval ''{self.shifted!r} seconds'''"
        )
        for process, ahead in self.clocks.items():
            orders.set_clock(self.faults, process, self.shifted + ahead)
        self.sql("SELECT pg_notify(%s, '')", channels.DUE)

    def set_clock(self, process: str, ahead: float) -> None:
        """Let its clock be so many seconds ahead of the ledger's, and stay so while that is moved."""
        self.clocks[process] = ahead
        orders.set_clock(self.faults, process, self.shifted + ahead)

    def set_clocks_right(self) -> None:
        """All have the true time again."""
        for process in self.clocks:
            orders.set_clock(self.faults, process, 0.0)
        self.clocks.clear()

    def to_next_minute(self) -> None:
        """To just before its next full minute."""
        [(seconds,)] = self.sql("SELECT 60 - extract(epoch FROM ledger.now())::numeric % 60")
        self.shift(max(float(seconds) - 0.3, 0.0))

    # --- processes

    def actor(self, name: str) -> Actor:
        """The process of this name."""
        return self.actors[name]

    def link(self, process: str, server: str) -> Link:
        """The link of this process to `postgres`, `rabbitmq` or `api`."""
        return self.lines[process, server]

    def call(self, method: str, path: str, *, expect: int = 200, **options: Any) -> Any:
        """The API's answer, which must have this status."""
        answer = self.client.request(method, f"/api/v1{path}", **options)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def call_patiently(
        self, method: str, path: str, *, within: float = 30.0, may_refuse: bool = False, **options: Any
    ) -> Any:
        """The same, again until the API is there; with `may_refuse` a refusal is an answer like others."""

        def answer() -> httpx.Response | None:
            try:
                given = self.client.request(method, f"/api/v1{path}", **options)
            except httpx.TransportError:
                return None
            return given if given.status_code < 500 else None

        given = until(answer, within=within, what=f"{method} {path} is answered")
        assert given is not None
        assert may_refuse or given.status_code < 400, f"{method} {path}: {given.status_code} {given.text}"
        return given.json() if given.content else None

    def is_ready(self) -> bool:
        """API, broker, ledger and hosts answer, and the schedulers live."""
        try:
            if self.client.get("/readyz").status_code != httpx.codes.OK:
                return False
            hosts = self.client.get("/api/v1/hosts").json()["items"]
        except (httpx.TransportError, KeyError):
            return False
        online = {host["name"] for host in hosts if host["status"] == "online"}
        consumed = all((host["queues"] or {}).get("consumers") for host in hosts if host["name"] in HOSTS)
        return online >= set(HOSTS) and consumed and all(self.actors[name].lives for name in SCHEDULERS)

    def wait_until_ready(self, within: float = READY_SECONDS) -> None:
        """Until it is."""
        until(self.is_ready, within=within, what="the stage is ready")

    # --- build and end

    def add(self, name: str, module: str, **told: str) -> Actor:
        """A process of the test build of this module."""
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}  # noqa: TID251
        environment = inherited | SHORT | {f"RIGBEAT_{key}": value for key, value in told.items()}
        environment |= {"FAULTS_FOLDER": str(self.faults), "FAULTS_PROCESS": name}
        environment |= {"RIGBEAT_CA_FILE": str(self.authority.file)}
        command = [sys.executable, "-m", "tests.faults.build", module]
        self.actors[name] = Actor(name, command, environment, self.folder / "log" / f"{name}.log", ROOT)
        return self.actors[name]

    def linked(self, process: str, server: str, url: str) -> str:
        """`url` by way of a link of this process."""
        parts = urlsplit(url)
        assert parts.port is not None
        if (process, server) not in self.lines:
            self.lines[process, server] = self.links.to(parts.port)
        place = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{place}{parts.hostname}:{self.lines[process, server].port}"))

    def add_runner(self, host: str, name: str | None = None, state_dir: Path | None = None) -> Actor:
        """A runner of this host; a second one has a name and a state of its own."""
        name = name or runner_of(host)
        return self.add(
            name,
            "services.host_runner",
            HOST_NAME=host,
            AMQP_URL=self.linked(name, "rabbitmq", _without_user(self.rabbitmq.amqp_url)),
            API_URL=self.linked(name, "api", str(self.client.base_url)),
            ENROLMENT_SECRET=self.secrets[host],
            DEVICES=json.dumps([{"device_id": device} for device in HOSTS[host]]),
            SCRIPTS_DIR=str(self.scripts),
            STATE_DIR=str(state_dir or self.state_dir(host)),
            DEPLOYMENTS_LOG=str(self.folder / f"deployments-{name}.log"),
            HTTP_PORT="0",
        )

    def enrol_again(self, host: str) -> None:
        """Its runner comes in with a new secret when it begins next, having lost what it had."""
        self.secrets[host] = self.call("POST", f"/hosts/{host}/enrol", expect=201)["secret"]
        self.actors[runner_of(host)].environment["RIGBEAT_ENROLMENT_SECRET"] = self.secrets[host]

    def people(self, timeout: float) -> dict[str, Any]:
        """How httpx reaches the API as an operator."""
        headers = {"Authorization": self.client.headers["Authorization"]}
        return {"base_url": self.client.base_url, "headers": headers, "timeout": timeout, **self.authority.trusted()}

    def close(self) -> None:
        """End everything: each part, whatever becomes of the others."""
        with contextlib.ExitStack() as ends:
            if self.places is not None:
                ends.callback(unmount, self.places)
            ends.callback(self.postgres.destroy)
            ends.callback(self.rabbitmq.destroy)
            ends.callback(self.links.close)
            ends.callback(self.client.close)
            # Shims outlive their runner, which is their purpose; not that of a stage.
            ends.callback(self._kill_scripts)
            for actor in self.actors.values():
                ends.callback(actor.end)

    def _kill_scripts(self) -> None:
        for execution in executions_below(self.folder):
            kill_leftovers(execution)


def build(folder: Path, *, places: Places | None = None, tls: bool = False) -> Stage:
    """Start the servers and all processes, and return when the stage is ready. `AssertionError` when it is not.

    `places`: where the servers' data is to be. `tls`: to PostgreSQL, too, which must be one that has it.
    """
    for name in ("faults", "log", "scripts", "hosts", "servers"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for script in (ROOT / "tests" / "support" / "scripts").glob("*.py"):
        shutil.copy(script, folder / "scripts")
    authority = Authority.made(folder / "ca")
    certificate = authority.issue()
    data = folder / "servers" / "postgres" if places is None else places.postgres
    postgres = chosen().postgres(data, log=folder / "log" / "postgres.log", tls=certificate if tls else None)
    data = folder / "servers" / "rabbitmq" if places is None else places.rabbitmq
    rabbitmq = chosen().rabbitmq(data, log=folder / "log" / "rabbitmq.log", tls=certificate)
    links = Links()
    try:
        postgres.start()
        rabbitmq.start()
        stage = Stage(
            folder, postgres, rabbitmq, made_ledger(postgres.superuser_url, "rigbeat_chaos"), links, authority
        )
        stage.places = places
    except BaseException:
        links.close()
        rabbitmq.destroy()
        postgres.destroy()
        raise
    try:
        _set_up(stage)
    except BaseException:
        stage.close()
        raise
    return stage


def _set_up(stage: Stage) -> None:
    database = stage.database
    stage.sql(_NOTE_WHAT_MOVES_BACK)
    team = database.team("chaos")
    port = free_port()
    stage.client = httpx.Client(
        base_url=f"https://{NAME}:{port}",
        headers={"Authorization": f"Bearer {database.token(team, 'operator')}"},
        timeout=20,
        **stage.authority.trusted(),
    )
    shown = stage.authority.issue()

    def urls(name: str) -> dict[str, str]:
        return {
            "INGEST_DATABASE_URL": stage.linked(name, "postgres", database.ingest_url),
            "AMQP_URL": stage.linked(name, "rabbitmq", stage.rabbitmq.amqp_url),
        }

    api = stage.add(
        "api-1",
        "services.api",
        DATABASE_URL=stage.linked("api-1", "postgres", database.api_url),
        HTTP_PORT=str(port),
        TLS_CERT_FILE=str(shown.cert),
        TLS_KEY_FILE=str(shown.key),
        AMQP_MANAGEMENT_URL=stage.rabbitmq.management_url,
        ARTIFACTS_URL=(stage.folder / "artifacts").as_uri(),
        **urls("api-1"),
    )
    stage.add("ingest-2", "services.api.ingest", **urls("ingest-2"))
    for name in SCHEDULERS:
        stage.add(
            name,
            "services.scheduler",
            DATABASE_URL=stage.linked(name, "postgres", database.scheduler_url),
            AMQP_URL=stage.linked(name, "rabbitmq", stage.rabbitmq.amqp_url),
            HTTP_PORT="0",
        )
    api.begin()

    def answers() -> bool:
        try:
            return stage.client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    until(answers, within=READY_SECONDS, what="the API is ready")
    for host in HOSTS:
        stage.secrets[host] = stage.call("POST", "/hosts", json={"name": host}, expect=201)["secret"]
        stage.add_runner(host)
    for name, actor in stage.actors.items():
        if name != "api-1":
            actor.begin()
    stage.wait_until_ready()


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def forget_orders(stage: Stage) -> list[str]:
    """Take back every order that nobody carried out; their names."""
    return orders.take_back(stage.faults)
