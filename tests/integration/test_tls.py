"""TLS with a private authority, on all three ways: to the broker, to the database, to the API.

The servers are made for `localhost`; to `127.0.0.1` they are the same servers with a certificate of another name.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from cli.client import Api
from cli.errors import CliError
from libs.chassis.amqp.connection import closing, connect
from libs.chassis.errors import ConnectionLost
from libs.chassis.exposure import trusting
from libs.ledger import pool
from libs.stack.ports import free_port
from libs.stack.postgres import Postgres
from libs.stack.process import Child, start
from libs.stack.rabbitmq import RabbitMQ
from services.api.broker_users import BrokerUsers, ManagementAway
from tests.support.debian import postgres_bin
from tests.support.ledger import LedgerDatabase, made_ledger
from tests.support.tls import NAME, Authority, shown
from tests.support.versions import chosen
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
HOST = "lab-tls"

pytestmark = pytest.mark.postgres_tls


@dataclass
class Lab:
    """Servers, API and scheduler, none of which is to be had in the clear."""

    folder: Path
    authority: Authority
    stranger: Authority
    rabbitmq: RabbitMQ
    ledger: LedgerDatabase
    token: str
    port: int
    processes: dict[str, Child]

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}"

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.authority.file)
        return httpx.Client(
            base_url=self.url, verify=context, headers={"Authorization": f"Bearer {self.token}"}, trust_env=False
        )

    def begin(self, name: str, module: str, told: dict[str, str]) -> Child:
        env = {"PATH": os.environ["PATH"], "RIGBEAT_CA_FILE": str(self.authority.file)} | {  # noqa: TID251
            f"RIGBEAT_{key}": value for key, value in told.items()
        }
        command = [sys.executable, "-m", module]
        self.processes[name] = start(name, command, env=env, log=self.folder / f"{name}.log", cwd=ROOT)
        return self.processes[name]

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority.made(folder / "ca"), Authority.made(folder / "another-ca")
    tls = authority.issue()
    postgres = Postgres(
        folder / "postgres", log=folder / "postgres.log", durable=False, programs=postgres_bin(), tls=tls
    )
    rabbitmq = chosen().rabbitmq(folder / "rabbitmq", log=folder / "rabbitmq.log", durable=False, tls=tls)
    processes: dict[str, Child] = {}
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        stack.callback(lambda: [each.kill() for each in processes.values()])
        stack.callback(postgres.destroy)
        stack.callback(rabbitmq.destroy)
        stack.callback(lambda: [each.terminate(8) for each in processes.values()])
        broker = threads.submit(rabbitmq.start)
        postgres.start()
        ledger = made_ledger(postgres.superuser_url, "rigbeat_tls")
        token = ledger.token(ledger.team("lab"), "admin")
        broker.result()
        made = Lab(folder, authority, stranger, rabbitmq, ledger, token, free_port(), processes)
        _start_centre(made)
        yield made


def _start_centre(lab: Lab) -> None:
    shown_by_api = lab.authority.issue(into="api")
    broker = {"AMQP_URL": lab.rabbitmq.amqp_url, "AMQP_MANAGEMENT_URL": lab.rabbitmq.management_url}
    databases = {"DATABASE_URL": _untold(lab.ledger.api_url), "INGEST_DATABASE_URL": _untold(lab.ledger.ingest_url)}
    files = {"TLS_CERT_FILE": str(shown_by_api.cert), "TLS_KEY_FILE": str(shown_by_api.key)}
    artifacts = {"ARTIFACTS_URL": f"file://{lab.folder}/artifacts", "HTTP_PORT": str(lab.port)}
    lab.begin("api", "services.api", broker | databases | files | artifacts)
    told = {"DATABASE_URL": _untold(lab.ledger.scheduler_url), "AMQP_URL": lab.rabbitmq.amqp_url, "HTTP_PORT": "0"}
    lab.begin("scheduler", "services.scheduler", told)
    with lab.client() as client:

        def ready() -> bool:
            try:
                return client.get("/readyz").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        until(lambda: ready() or lab.processes["api"].poll() is not None, within=30, what="the API is ready")
    assert lab.processes["api"].poll() is None, lab.said("api")


def _untold(url: str) -> str:
    """Who is trusted is said by RIGBEAT_CA_FILE instead."""
    return url.partition("&sslrootcert=")[0]


# --- what a client is told, way by way


async def ask_broker(lab: Lab, port: int, host: str, ca: Path, scheme: str) -> None:
    url = lab.rabbitmq.amqp_url.replace(f"{NAME}:{lab.rabbitmq.port}", f"{host}:{port}").replace("amqps", scheme)
    async with closing(await connect(trusting(url, str(ca), plaintext=False), name="test")):
        pass


async def ask_database(lab: Lab, port: int, host: str, ca: Path, mode: str) -> None:
    place = _untold(lab.ledger.api_url).rpartition("@")[0] + f"@{host}:{port}/{lab.ledger.name}?sslmode={mode}"
    connection = await pool.connect(trusting(place, str(ca), plaintext=False), application="test")
    [row] = await connection.fetch("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await connection.close()
    assert row["ssl"]
    assert row["version"] in {"TLSv1.2", "TLSv1.3"}


async def ask_api(lab: Lab, port: int, host: str, ca: Path, scheme: str) -> None:
    with Api(f"{scheme}://{host}:{port}", lab.token, ca_file=str(ca)) as api:
        api.get("/hosts")


async def ask_management(lab: Lab, port: int, host: str, ca: Path, scheme: str) -> None:
    url = lab.rabbitmq.management_url.replace(f"{NAME}:{lab.rabbitmq.management_port}", f"{host}:{port}")
    url = url.replace("https", scheme)
    await BrokerUsers(url, "amqps:///", ca_file=str(ca)).hosts()


@dataclass(frozen=True)
class Way:
    """How one of the servers is asked, in TLS and in the clear, and where it is."""

    ask: Callable[..., Any]
    secure: str
    clear: str
    port: Callable[[Lab], int]
    fails: type[Exception] | tuple[type[Exception], ...]
    refuses: str
    """What a client says who tries it in the clear."""


WAYS = {
    "broker": Way(
        ask_broker,
        "amqps",
        "amqp",
        lambda lab: lab.rabbitmq.port,
        ConnectionLost,
        "if TLS is spoken there, write amqps",
    ),
    "database": Way(
        ask_database,
        "verify-full",
        "disable",
        lambda lab: int(lab.ledger.api_url.rpartition(":")[2].partition("/")[0]),
        (ConnectionError, asyncpg.InvalidAuthorizationSpecificationError),
        "no encryption",
    ),
    "api": Way(ask_api, "https", "http", lambda lab: lab.port, CliError, "does it speak TLS"),
    "management": Way(
        ask_management, "https", "http", lambda lab: lab.rabbitmq.management_port, ManagementAway, "does not answer"
    ),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@each_way
async def test_the_authority_that_was_named_is_trusted(lab: Lab, way: Way) -> None:
    await way.ask(lab, way.port(lab), NAME, lab.authority.file, way.secure)


@each_way
async def test_another_authority_is_not(lab: Lab, way: Way) -> None:
    with pytest.raises(way.fails, match=r"its certificate is not trusted here .*check RIGBEAT_CA_FILE"):
        await way.ask(lab, way.port(lab), NAME, lab.stranger.file, way.secure)


@each_way
async def test_another_name_is_not(lab: Lab, way: Way) -> None:
    with pytest.raises(way.fails, match=r"its certificate is another's: .*127\.0\.0\.1.*check the name in the url"):
        await way.ask(lab, way.port(lab), "127.0.0.1", lab.authority.file, way.secure)


@each_way
async def test_an_expired_certificate_is_not(lab: Lab, way: Way) -> None:
    postgres = way.ask is ask_database
    with (
        shown(lab.authority.issue(expired=True), postgres=postgres) as port,
        pytest.raises(way.fails, match="its certificate has expired"),
    ):
        await way.ask(lab, port, NAME, lab.authority.file, way.secure)


@each_way
async def test_in_the_clear_nobody_is_let_in(lab: Lab, way: Way) -> None:
    with pytest.raises(way.fails, match=way.refuses):
        await way.ask(lab, way.port(lab), NAME, lab.authority.file, way.clear)


@pytest.mark.parametrize("option", ["no_verify_ssl=1", "cadata=", "ssl_options=verify_none"])
async def test_what_the_url_says_of_checking_is_not_heard(lab: Lab, option: str) -> None:
    with pytest.raises(ConnectionLost, match="not trusted here"):
        await connect(f"{lab.rabbitmq.amqp_url}?{option}", name="test")


# --- programs that meet it


def test_who_meets_a_stranger_says_so_again_and_again(lab: Lab) -> None:
    stranger = {"CA_FILE": str(lab.stranger.file)}
    database = {"DATABASE_URL": _untold(lab.ledger.scheduler_url), "AMQP_URL": lab.rabbitmq.amqp_url}
    lab.begin("lost-scheduler", "services.scheduler", stranger | database | {"HTTP_PORT": "0"})
    lab.begin("lost-runner", "services.host_runner", stranger | _runner(lab, "lost", "rb_nothing"))
    words = {
        "lost-scheduler": ["Without the database", "no database at localhost", "its certificate is not trusted here"],
        "lost-runner": ["The API is waited for", "its certificate is not trusted here", "RIGBEAT_CA_FILE"],
    }

    def told_twice(name: str) -> bool:
        lines = [line for line in lab.said(name).splitlines() if all(word in line for word in words[name])]
        return len(lines) > 1

    for name in words:
        try:
            until(lambda name=name: told_twice(name), within=15, what=lab.said(name))  # type: ignore[misc]
        finally:
            lab.processes[name].kill()


def _runner(lab: Lab, name: str, secret: str) -> dict[str, str]:
    scripts = lab.folder / "scripts"
    scripts.mkdir(exist_ok=True)
    (scripts / "hello.py").write_text("print('over TLS')\n")
    return {
        "HOST_NAME": HOST,
        "API_URL": lab.url,
        "ENROLMENT_SECRET": secret,
        "SCRIPTS_DIR": str(scripts),
        "STATE_DIR": str(lab.folder / name),
        "DEPLOYMENTS_LOG": str(lab.folder / f"{name}-deployments.log"),
        "DEVICES": '[{"device_id": "stb-1", "model": "box", "labels": {}}]',
        "HTTP_PORT": "0",
        "HEARTBEAT_SECONDS": "1",
    }


def test_a_script_runs_with_everything_on_tls(lab: Lab) -> None:
    with lab.client() as client:
        enrolled = client.post("/api/v1/hosts", json={"name": HOST})
        assert enrolled.status_code == httpx.codes.CREATED, enrolled.text
        secret = enrolled.json()["secret"]
        lab.begin("runner", "services.host_runner", _runner(lab, "state", secret))

        def online() -> bool:
            hosts = client.get("/api/v1/hosts").json()["items"]
            return any(each["name"] == HOST and each["status"] == "online" and each["scripts"] for each in hosts)

        until(online, within=20, what=lab.said("runner"))
        wanted = {
            "host_name": HOST,
            "device_id": "stb-1",
            "script_name": "hello.py",
            "userinterface_name": "demo",
            "cron_expression": "0 0 1 1 *",
        }
        made = client.post("/api/v1/deployments", json=wanted)
        assert made.status_code == httpx.codes.CREATED, made.text
        [deployment] = made.json()["items"]
        run = client.post(f"/api/v1/deployments/{deployment['id']}/run").json()
        path = f"/api/v1/executions/{run['id']}"
        until(lambda: client.get(path).json()["status"] == "completed", within=20, what="the run is completed")
        until(lambda: "over TLS" in client.get(f"{path}/log").text, within=10, what="its log is there")

    kept = (lab.folder / "state" / "credentials.json").read_text()
    assert f"@{NAME}:{lab.rabbitmq.port}/" in kept
    assert "amqps://" in kept
    assert str(lab.authority.file) not in kept, "whom to trust is the host's own matter"


def test_the_retention_reaches_its_ledger_by_tls(lab: Lab) -> None:
    lab.ledger.execute("UPDATE retention_next SET at = ledger.now()")
    ended = "SELECT count(*) FROM retention_runs WHERE ended_at IS NOT NULL AND NOT broke_off"
    until(lambda: lab.ledger.execute(ended) == [(1,)], within=15, what=lab.said("api"))


# --- the certificate of the API


def _serial(lab: Lab) -> str:
    context = ssl.create_default_context(cafile=lab.authority.file)
    with (
        socket.create_connection(("127.0.0.1", lab.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        return str((connection.getpeercert() or {})["serialNumber"])


def test_a_renewed_certificate_is_taken_without_a_restart(lab: Lab) -> None:
    before = _serial(lab)
    pid = lab.processes["api"].pid
    with lab.client() as held:
        assert held.get("/livez").status_code == httpx.codes.OK
        lab.authority.issue(into="api")
        # Each worker takes it for itself: many connections in a row, whichever of them answers.
        until(lambda: before not in {_serial(lab) for _ in range(12)}, within=10, what="every worker shows the new one")
        assert held.get("/livez").status_code == httpx.codes.OK, "an open connection goes on"
    until(lambda: lab.said("api").count("Took the new certificate") == 2, within=10, what="both took it")
    assert lab.processes["api"].pid == pid

    after = _serial(lab)
    (lab.authority.folder / "api.key").write_text("not a key")
    until(lambda: lab.said("api").count("The new certificate cannot be used") == 2, within=10, what="both say so")
    assert _serial(lab) == after, "the former one stays"
    lab.authority.issue(into="api")
    until(lambda: after not in {_serial(lab) for _ in range(12)}, within=10, what="mended")


def test_browsers_are_told_to_stay_with_tls(lab: Lab) -> None:
    with lab.client() as client:
        for path in ("/livez", "/api/v1/hosts", "/nowhere"):
            assert client.get(path).headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_nothing_older_than_tls_1_2(lab: Lab, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=lab.authority.file)
    context.set_ciphers("ALL:@SECLEVEL=0")  # or our own side would refuse
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", lab.port), timeout=5) as plain:
        if version is ssl.TLSVersion.TLSv1_1:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname=NAME)
        else:
            context.wrap_socket(plain, server_hostname=NAME).close()


def test_it_stops_at_once_though_clients_keep_connections(lab: Lab) -> None:
    """The last one here: the API is gone then."""
    with ExitStack() as stack:
        for _ in range(4):
            held = stack.enter_context(lab.client())
            assert held.get("/livez").status_code == httpx.codes.OK
        lab.processes["api"].send(signal.SIGTERM)
        assert lab.processes["api"].wait(9.0) == 0, lab.said("api")
