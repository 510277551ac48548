"""A server that speaks S3, for tests: moto, as a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from libs.stack.ports import free_port
from libs.stack.process import start
from tests.support.wait import until


@dataclass(frozen=True)
class S3:
    """Where it listens."""

    endpoint: str

    def bucket(self, name: str) -> str:
        """Make a bucket; its name."""
        assert httpx.put(f"{self.endpoint}/{name}", trust_env=False).is_success
        return name

    def environment(self) -> dict[str, str]:
        """What a program is told that keeps its files there."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The running server."""
    port = free_port()
    log = tmp_path_factory.mktemp("s3") / "s3.log"
    env = {"HOME": str(log.parent), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    child = start("s3", command, env=env, log=log, cwd=log.parent)
    server = S3(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert child.poll() is None, log.read_text()
        try:
            return httpx.get(server.endpoint, trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, within=60, what="the S3 server answers")
        yield server
    finally:
        child.send(signal.SIGKILL)
        child.wait(5.0)
