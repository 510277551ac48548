"""The system under measurement: real servers with fsync on, real services, simulated hosts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from cli.up.database import ROLES, made, migrated
from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import declare
from libs.contracts.topology import central, of_host
from libs.stack.ports import free_port
from libs.stack.postgres import Postgres
from libs.stack.process import Child, start
from libs.stack.rabbitmq import RabbitMQ
from tests.bench.hosts import host_names
from tests.bench.machine import ROOT
from tests.support.wait import until

PREFIX = "bench"
MANY = 1000


@dataclass(frozen=True)
class Size:
    """What is set up."""

    hosts: int
    deployments: int
    schedulers: int
    web_workers: int = 1


@dataclass
class Lab:
    """Running servers with an empty ledger, and what was started on them."""

    place: Path
    size: Size
    postgres: Postgres
    rabbitmq: RabbitMQ
    passwords: dict[str, str]
    superuser_url: str
    offset: float = 0.0
    """What database time is ahead of the clock."""
    children: dict[str, Child] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Rows of one statement on the ledger, with all rights."""
        with psycopg.connect(
            self.superuser_url, autocommit=True, options="-c search_path=ledger,public", application_name="bench"
        ) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def url(self, role: str) -> str:
        """Of the ledger, for a role."""
        return self.postgres.url("rigbeat", role, self.passwords[role])

    def shift(self, seconds: float) -> None:
        """Let database time be so far ahead, once, before anything runs."""
        self.offset = seconds
        self.sql(
            "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE"
            f" AS 'SELECT clock_timestamp() + interval ''{seconds!r} seconds'''"
        )

    def populate(self, first: datetime) -> None:
        """Hosts with devices, and deployments that are due at `first` and each minute after it, one to a device."""
        [(team,)] = self.sql("INSERT INTO teams (id, name) VALUES (gen_random_uuid(), 'bench') RETURNING id")
        names = host_names(PREFIX, self.size.hosts)
        self.sql(
            "INSERT INTO hosts (name, team_id, last_seen_at, max_parallel)"
            " SELECT name, %s, ledger.now(), 1000 FROM unnest(%s::text[]) AS name",
            team,
            names,
        )
        self.sql(
            "INSERT INTO devices (host_name, device_id) SELECT name, 'box-' || number"
            " FROM unnest(%s::text[]) AS name, generate_series(1, %s) AS number",
            names,
            -(-self.size.deployments // self.size.hosts),
        )
        self.sql(
            "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,"
            " counted_from, next_fire_at, next_due_at, parameters, userinterface_name)"
            " SELECT gen_random_uuid(), %s, 'storm_' || n, (%s::text[])[1 + n %% %s], 'box-' || (1 + n / %s),"
            " 'health.py', '* * * * *', %s, %s, %s, '--limit 2', 'demo' FROM generate_series(0, %s) AS n",
            team,
            names,
            self.size.hosts,
            self.size.hosts,
            first,
            first,
            first,
            self.size.deployments - 1,
        )
        self.sql(
            "INSERT INTO deployment_versions SELECT id, version, team_id, counted_from, counted_from, cron_expression,"
            " timezone, start_date, end_date, max_executions, status, NULL, catch_up, catch_up_window_seconds,"
            " on_device_busy, max_wait_seconds, timeout_seconds, silence_timeout_seconds, false, NULL FROM deployments"
        )
        self.sql("ANALYZE")
        asyncio.run(self._declare(names))

    async def _declare(self, names: list[str]) -> None:
        async with closing(await connect(self.rabbitmq.amqp_url, name="bench")) as connection:
            for part in (central(), *map(of_host, names)):
                await declare(connection, part.exchanges, part.queues, part.bindings)

    def start_services(self) -> None:
        """Schedulers, API with its ingest, and the hosts; returns when all are ready."""
        common = {
            "PATH": os.environ["PATH"],  # noqa: TID251
            "RIGBEAT_AMQP_URL": self.rabbitmq.amqp_url,
            "RIGBEAT_LOG_FORMAT": "json",
        }
        ports = {}
        for number in range(1, self.size.schedulers + 1):
            ports[f"scheduler-{number}"] = port = free_port()
            self._start(
                f"scheduler-{number}",
                ["-m", "services.scheduler"],
                common | {"RIGBEAT_DATABASE_URL": self.url("rigbeat_scheduler"), "RIGBEAT_HTTP_PORT": str(port)},
            )
        ports["api"] = self.api_port
        self._start(
            "api",
            ["-m", "services.api"],
            common
            | {
                "RIGBEAT_DATABASE_URL": self.url("rigbeat_api"),
                "RIGBEAT_INGEST_DATABASE_URL": self.url("rigbeat_ingest"),
                "RIGBEAT_HTTP_PORT": str(self.api_port),
                "RIGBEAT_WEB_WORKERS": str(self.size.web_workers),
                "RIGBEAT_ARTIFACTS_URL": f"file://{self.place}/artifacts",
            },
        )
        told = ["--url", self.rabbitmq.amqp_url, "--prefix", PREFIX, "--number", str(self.size.hosts)]
        told += ["--offset", repr(self.offset), "--out", str(self.received_file)]
        self._start("simulated hosts", ["-m", "tests.bench.hosts", *told], common)
        for name, port in ports.items():
            until(lambda port=port: _is_ready(port), within=40, what=f"{name} is ready")  # type: ignore[misc]
        until(self._all_consume, within=30, what="all hosts and the ingest consume")

    def _all_consume(self) -> bool:
        with httpx.Client(trust_env=False) as client:
            queues = client.get(f"{self.rabbitmq.management_url}/api/queues").json()
        wanted = {f"host.{name}.triggers" for name in host_names(PREFIX, self.size.hosts)} | {"results.persist"}
        return wanted <= {queue["name"] for queue in queues if queue.get("consumers", 0) >= 1}

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        log = self.place / f"{name.replace(' ', '-')}.log"
        self.children[name] = start(name, [sys.executable, *arguments], env=environment, log=log, cwd=ROOT)

    @property
    def received_file(self) -> Path:
        """What the simulated hosts write at their end."""
        return self.place / "received.tsv"

    def stop_services(self) -> None:
        """Hosts first, so that what they have to say is still taken."""
        for name in ("simulated hosts", *self.children):
            if name in self.children:
                self.children[name].terminate(20, signal.SIGTERM)

    def kill_services(self) -> None:
        """Whatever still runs."""
        for child in self.children.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                family = psutil.Process(child.pid).children(recursive=True)
                child.kill()
                for process in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def running(place: Path, size: Size) -> Iterator[Lab]:
    """Servers with a migrated ledger; all of it is gone at the end."""
    postgres = Postgres(place / "postgres", log=place / "postgres.log")
    rabbitmq = RabbitMQ(place / "rabbitmq", log=place / "rabbitmq.log")
    lab: Lab | None = None
    try:
        postgres.start()
        _count_statements(postgres)
        rabbitmq.start()
        passwords = dict.fromkeys(ROLES, secrets.token_hex(16))
        migrated(made(postgres, passwords), passwords)
        lab = Lab(place, size, postgres, rabbitmq, passwords, postgres.url("rigbeat"))
        lab.sql("CREATE EXTENSION pg_stat_statements SCHEMA public")
        yield lab
    finally:
        if lab is not None:
            lab.kill_services()
        rabbitmq.destroy()
        postgres.destroy()


def _count_statements(postgres: Postgres) -> None:
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    postgres.stop()
    postgres.start()
