"""Real servers for the tests: one of each per session, started when first asked for, gone at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.stack.postgres import Postgres
from libs.stack.rabbitmq import RabbitMQ
from tests.support.versions import chosen


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running PostgreSQL without fsync; take a database of your own (fixture `ledger_database`)."""
    place = tmp_path_factory.mktemp("postgres")
    server = chosen().postgres(place / "home", log=place / "postgres.log", durable=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A running RabbitMQ; take a virtual host or names of your own."""
    place = tmp_path_factory.mktemp("rabbitmq")
    server = chosen().rabbitmq(place / "home", log=place / "rabbitmq.log", durable=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()
