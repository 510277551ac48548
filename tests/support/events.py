"""Web workers on real sockets, and ears that listen to their events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from tests.support.wait import until_async

if TYPE_CHECKING:
    from fastapi import FastAPI


@contextlib.asynccontextmanager
async def served(app: FastAPI, *, patience_seconds: int = 2) -> AsyncIterator[str]:
    """Serve an application on a free port; its address. Open answers may take so long to end."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=patience_seconds, ws="none")
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))

    async def is_up() -> bool:
        return server.started or serving.done()

    try:
        await until_async(is_up, within=10)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
    finally:
        server.should_exit = True
        await asyncio.wait({serving}, timeout=patience_seconds + 10)
        listening.close()
        serving.result()


@dataclass(frozen=True)
class Heard:
    """One event."""

    event: str
    id: str
    data: dict[str, Any]

    @property
    def what(self) -> tuple[str, str]:
        """The kind and the id or name of its resource."""
        return self.event, str(self.data.get("id") or self.data.get("device_id") or self.data.get("name"))


@dataclass
class Ear:
    """What one client heard; `last_id` is what it goes on from, as a browser would."""

    heard: list[Heard] = field(default_factory=list)
    comments: int = 0
    last_id: str | None = None
    ended: bool = False
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def hears(self, number: int, *, within: float = 10) -> list[Heard]:
        """The events, when there are so many."""

        async def enough() -> bool:
            return len(self.heard) >= number

        await until_async(enough, within=within, what=f"{number} events, not {[one.what for one in self.heard]}")
        return self.heard

    async def listen(self, lines: AsyncIterator[str]) -> None:
        """Read until the other end closes."""
        event, identity, data = "", self.last_id, ""
        async for line in lines:
            name, _, value = line.partition(": ")
            match name:
                case "event":
                    event = value
                case "id":
                    identity = value
                case "data":
                    data = value
                case "" if value:
                    self.comments += 1
                case "" if not line:
                    self.last_id = identity
                    if data:
                        self.heard.append(Heard(event, identity or "", json.loads(data)))
                    event, data = "", ""
                    self.opened.set()
        self.ended = True


@contextlib.asynccontextmanager
async def listening(url: str, token: str, *, since: str | None = None, in_url: bool = False) -> AsyncIterator[Ear]:
    """An ear at this worker until the end of the block; it listens when the block begins."""
    ear = Ear(last_id=since)
    headers = {"Authorization": f"Bearer {token}"}
    if since is not None and not in_url:
        headers["Last-Event-ID"] = since
    params = {"cursor": since} if since is not None and in_url else None
    timeout = httpx.Timeout(10, read=None)
    async with (
        httpx.AsyncClient(timeout=timeout, trust_env=False) as client,
        client.stream("GET", f"{url}/events", headers=headers, params=params) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        hearing = asyncio.create_task(ear.listen(answer.aiter_lines()))
        try:
            await asyncio.wait_for(ear.opened.wait(), 10)
            yield ear
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing
