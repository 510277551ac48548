"""`python -m services.api` as it runs: several processes on one port, none of which outlives the parent."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from libs.stack.ports import free_port
from libs.stack.process import Child, start
from libs.stack.rabbitmq import RabbitMQ
from tests.support.api import AT_STB_1, EVERY_TEN
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def service(ledger_database: LedgerDatabase, rabbitmq: RabbitMQ, port: int, tmp_path: Path) -> Iterator[Child]:
    env = {
        "PATH": os.environ["PATH"],  # noqa: TID251
        "RIGBEAT_DATABASE_URL": ledger_database.api_url,
        "RIGBEAT_INGEST_DATABASE_URL": ledger_database.ingest_url,
        "RIGBEAT_AMQP_URL": rabbitmq.amqp_url,
        "RIGBEAT_HTTP_PORT": str(port),
        "RIGBEAT_ARTIFACTS_URL": f"file://{tmp_path}/artifacts",
    }
    child = start("api", [sys.executable, "-m", "services.api"], env=env, log=tmp_path / "api.log", cwd=_ROOT)
    family: list[psutil.Process] = []
    try:
        until(lambda: child.poll() is not None or _is_ready(port), within=30, what="the API ready")
        assert child.poll() is None, child.log.read_text()
        family += _family(child)
        yield child
    finally:
        child.kill()
        for process in family:
            if process.is_running():
                process.kill()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _family(child: Child) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def _servants(child: Child, port: int) -> list[psutil.Process]:
    """The web workers: who listens on the port, but for the parent."""
    return [process for process in _family(child) if _listens(process, port)]


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections()
    except psutil.NoSuchProcess:  # it was just killed
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


def test_it_serves_heals_and_stops(service: Child, port: int, ledger_database: LedgerDatabase) -> None:
    team = ledger_database.team("lab")
    ledger_database.host("lab-1", team, ["stb-1"])
    headers = {"Authorization": f"Bearer {ledger_database.token(team, 'editor')}"}
    base = f"http://127.0.0.1:{port}/api/v1"
    made = httpx.post(f"{base}/deployments", json={**EVERY_TEN, **AT_STB_1}, headers=headers, timeout=30)
    assert made.status_code == 201, made.text

    workers = _servants(service, port)
    assert len(workers) == 2
    workers[0].kill()
    until(lambda: len(_servants(service, port)) == 2, within=15, what="a new web worker")
    assert "A child ended and is started again" in service.log.read_text()
    until(lambda: _is_ready(port), within=10)
    identity = made.json()["items"][0]["id"]
    assert httpx.get(f"{base}/deployments/{identity}", headers=headers).status_code == 200

    family = _family(service)
    service.send(signal.SIGTERM)
    assert service.wait(15) == 0, service.log.read_text()
    until(lambda: not any(process.is_running() for process in family), within=3, what="all children gone")
    assert "Traceback" not in service.log.read_text()


def test_metrics_are_those_of_all_processes_whichever_answers(
    service: Child, port: int, ledger_database: LedgerDatabase
) -> None:
    base = f"http://127.0.0.1:{port}"
    directory = _metrics_directory(service)

    def counted() -> float:
        return _value(port, "rigbeat_http_request_seconds_count", method="GET", route="/livez", status="200")

    asked = 0

    def both_were_asked() -> bool:
        nonlocal asked
        # Each request is a connection of its own, so that both workers get some.
        assert httpx.get(f"{base}/livez").status_code == 200
        asked += 1
        files = [directory / f"histogram_{process.pid}.db" for process in _servants(service, port)]
        return asked >= 60 and all(file.exists() and b"/livez" in file.read_bytes() for file in files)

    until(both_were_asked, within=30, what="both workers were asked")
    until(lambda: counted() == asked, within=5, what="the last one is counted, which happens after its answer")
    assert {counted() for _ in range(12)} == {asked}, "the same from every worker"

    # Of the ingest, which answers no HTTP itself.
    queue = "results.persist"
    until(lambda: _value(port, "rigbeat_ingest_consumer_up", queue=queue) == 1, within=10, what="the ingest's gauge")
    assert _value(port, "rigbeat_ingest_batches_total") == 0
    (directory / "counter_1.db").touch()  # as a process makes it, before it writes
    assert _value(port, "rigbeat_ingest_batches_total") == 0
    (directory / "counter_1.db").unlink()
    [ingest] = [one for one in _family(service) if (directory / f"gauge_livesum_{one.pid}.db").exists()]
    ingest.kill()
    gone = directory / f"gauge_livesum_{ingest.pid}.db"
    until(lambda: not gone.exists(), within=10, what="a dead ingest's gauges are forgotten")
    until(lambda: _value(port, "rigbeat_ingest_consumer_up", queue=queue) == 1, within=15, what="the next one's gauge")

    # What a worker counted outlives it.
    _servants(service, port)[0].kill()
    until(lambda: len(_servants(service, port)) == 2, within=15, what="a new web worker")
    until(lambda: _is_ready(port), within=10)
    assert counted() == asked

    service.send(signal.SIGTERM)
    assert service.wait(15) == 0, service.log.read_text()
    assert not directory.exists()


def _metrics_directory(service: Child) -> Path:
    [told] = {
        process.environ()["PROMETHEUS_MULTIPROC_DIR"]
        for process in _family(service)
        if "PROMETHEUS_MULTIPROC_DIR" in process.environ()
    }
    return Path(told)


def _value(port: int, name: str, **labels: str) -> float:
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.TransportError:  # of a worker that is being killed
        return -1.0
    wanted = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(wanted) <= 1, "one value, not one for each process"
    return wanted[0] if wanted else -1.0


def test_no_child_outlives_a_killed_parent(service: Child, port: int) -> None:
    family = _family(service)
    assert len(_servants(service, port)) == 2
    service.send(signal.SIGKILL)
    service.wait(5)
    until(lambda: not any(process.is_running() for process in family), within=5, what="all children gone")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/livez")
