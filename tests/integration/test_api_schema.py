"""The API against its own OpenAPI document: drawn requests, right and wrong, on every operation.

No request brings a server error, and every answer is one that the document names, in the shape that it gives.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from libs.stack.ports import free_port
from libs.stack.process import start
from libs.stack.rabbitmq import RabbitMQ
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
EXAMPLES = 6
# They answer for as long as one listens.
ENDLESS = ("/api/v1/events",)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of a running API, and a token of its only team."""
    database: LedgerDatabase = request.getfixturevalue("module_ledger_database")
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    place = tmp_path_factory.mktemp("api")
    team = database.team("lab")
    database.host("lab-1", team, ["stb-1", "stb-2"], scripts=["health.py"])
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],  # noqa: TID251
        "RIGBEAT_DATABASE_URL": database.api_url,
        "RIGBEAT_INGEST_DATABASE_URL": database.ingest_url,
        "RIGBEAT_AMQP_URL": rabbitmq.amqp_url,
        "RIGBEAT_HTTP_PORT": str(port),
        "RIGBEAT_WEB_WORKERS": "1",
        "RIGBEAT_ARTIFACTS_URL": f"file://{place}/artifacts",
    }
    url = f"http://127.0.0.1:{port}"
    child = start("api", [sys.executable, "-m", "services.api"], env=env, log=place / "api.log", cwd=ROOT)

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(lambda: child.poll() is not None or is_ready(), within=30, what="the API ready")
        assert child.poll() is None, child.log.read_text()
        yield url, database.token(team, "admin")
    finally:
        child.terminate(10)


def test_every_operation_keeps_to_the_document(served: tuple[str, str]) -> None:
    url, token = served
    document = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path=list(ENDLESS))
    broken: list[str] = []
    for found in document.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # what is not whole has no operation, and fails here

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def keeps_to_it(case: schemathesis.Case[Any]) -> None:
            case.query = {name: value for name, value in (case.query or {}).items() if name != "follow"}
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

        try:
            keeps_to_it()
        except FailureGroup as failures:
            broken += [f"{operation.label}: {failure}" for failure in failures.exceptions]
    assert not broken, "\n\n".join(broken)
