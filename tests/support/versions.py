"""The versions of the servers that the tests run on: `--rabbitmq 4`, `--postgres 15`.

Without them it is what `rigbeat up` would take here. With them it is what `make versions` (tests/support/debian.py) has
prepared: Debian 13's RabbitMQ in a root file system, and Debian 12's PostgreSQL. Every server that a test starts, also
the whole system of the end-to-end tests, comes from `chosen()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.stack.errors import StackError
from libs.stack.postgres import Postgres
from libs.stack.rabbitmq import RabbitMQ
from libs.stack.rooted import find_rooted
from libs.stack.tls import ServerTls
from tests.support.debian import postgres_bin, rabbitmq_root


@dataclass(frozen=True)
class Versions:
    """Where the servers come from; None is what `rigbeat up` would take."""

    postgres_bin: Path | None = None
    rabbitmq_root: Path | None = None

    def postgres(
        self,
        directory: Path,
        *,
        log: Path,
        port: int | None = None,
        durable: bool = True,
        tls: ServerTls | None = None,
    ) -> Postgres:
        """One that is not started yet; with `tls` it must be one that is built with it."""
        return Postgres(directory, log=log, port=port, durable=durable, programs=self.postgres_bin, tls=tls)

    def rabbitmq(
        self,
        directory: Path,
        *,
        log: Path,
        port: int | None = None,
        management_port: int | None = None,
        durable: bool = True,
        tls: ServerTls | None = None,
    ) -> RabbitMQ:
        """One that is not started yet."""
        installation = None if self.rabbitmq_root is None else find_rooted(self.rabbitmq_root)
        return RabbitMQ(
            directory,
            log=log,
            port=port,
            management_port=management_port,
            installation=installation,
            durable=durable,
            tls=tls,
        )

    def environment(self) -> dict[str, str]:
        """What `rigbeat up` is told of it."""
        told = {"RIGBEAT_POSTGRES_BIN": self.postgres_bin, "RIGBEAT_RABBITMQ_ROOT": self.rabbitmq_root}
        return {name: str(path) for name, path in told.items() if path is not None}

    def words(self) -> tuple[str, str]:
        """For a program that a test starts, which takes them with `versions_of`."""
        return str(self.postgres_bin or ""), str(self.rabbitmq_root or "")


_chosen = Versions()


def chosen() -> Versions:
    """What this run of the tests was told."""
    return _chosen


def versions_of(words: list[str]) -> Versions:
    """The versions that `Versions.words` has put in these words."""
    postgres, rabbitmq = words
    return Versions(Path(postgres) if postgres else None, Path(rabbitmq) if rabbitmq else None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rabbitmq", choices=["4"], default=None, help="the tests' RabbitMQ: 4, as `make versions` made it"
    )
    parser.addoption("--postgres", choices=["15"], default=None, help="the tests' PostgreSQL: 15, the same")


def choose(*, postgres: bool, rabbitmq: bool) -> None:
    """Take the other versions from now on. StackError when the root of RabbitMQ's is not there."""
    global _chosen  # noqa: PLW0603 - options are of the whole run, and so are the functions that start servers
    _chosen = Versions(postgres_bin() if postgres else None, rabbitmq_root() if rabbitmq else None)
    if _chosen.rabbitmq_root is not None:
        try:
            find_rooted(_chosen.rabbitmq_root)
        except StackError as missing:
            raise StackError(f"{missing} `make versions` prepares it.") from missing


def pytest_configure(config: pytest.Config) -> None:
    try:
        choose(postgres=bool(config.getoption("--postgres")), rabbitmq=bool(config.getoption("--rabbitmq")))
    except StackError as missing:
        raise pytest.UsageError(str(missing)) from missing


def pytest_report_header(config: pytest.Config) -> str:
    """Which servers, at the top of what is printed."""
    return f"servers: {_chosen.environment() or 'as rigbeat up takes them'}"
