"""The health server: right answers for probes, 4xx and a closed connection for everything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from libs.chassis import health
from libs.chassis.health import HealthServer
from libs.chassis.metrics import counter

CHECKS = {"broker": True, "database": True}
ASKED = counter("test_health_asked", "How often the tests of the health server counted", ["who"])


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    part = HealthServer(0, lambda: dict(CHECKS))
    await part.start()
    yield part
    await part.stop(1)


async def ask(server: HealthServer, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer to raw bytes."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(request)
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


async def get(server: HealthServer, path: str) -> tuple[int, bytes]:
    status, _, body = await ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return status, body


async def test_live_and_ready(server: HealthServer) -> None:
    assert server.port > 0
    assert (await get(server, "/livez"))[0] == 200
    status, body = await get(server, "/readyz?verbose")
    assert (status, json.loads(body)["ready"]) == (200, True)


async def test_not_ready_is_503_and_says_what(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKS, "database", False)
    status, body = await get(server, "/readyz")
    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "not_ready": ["database"],
        "checks": {"broker": True, "database": False},
    }
    assert (await get(server, "/livez"))[0] == 200


async def test_metrics_have_the_prefix(server: HealthServer) -> None:
    ASKED.labels("pytest").inc(3)
    status, body = await get(server, "/metrics")
    assert status == 200
    assert b'rigbeat_test_health_asked_total{who="pytest"} 3.0' in body


async def test_head_has_the_length_and_no_body(server: HealthServer) -> None:
    status, head, body = await ask(server, b"HEAD /livez HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert b"Content-Length: 14" in head


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /livez HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * health.REQUEST_BYTES * 2 + b"\r\n\r\n", 400),
    ],
)
async def test_what_is_no_probe_is_refused(server: HealthServer, request_bytes: bytes, status: int) -> None:
    assert (await ask(server, request_bytes))[0] == status
    assert (await get(server, "/livez"))[0] == 200


async def test_a_silent_client_is_given_up(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.05)
    async with asyncio.timeout(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_stop_lets_go_of_the_port_and_of_clients() -> None:
    part = HealthServer(0, dict)
    await part.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", part.port)
    assert (await get(part, "/livez"))[0] == 200  # so the first client has been accepted too
    await part.stop(1)
    async with asyncio.timeout(health.REQUEST_SECONDS / 2):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    again = HealthServer(part.port, dict)
    await again.start()
    await again.stop(1)


async def test_a_taken_port_is_said_at_the_start(server: HealthServer) -> None:
    second = HealthServer(server.port, dict)
    with pytest.raises(OSError, match="in use"):
        await second.start()
