"""A real set-top box (`examples.settopbox`) as a process of its own, for tests that need a device."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class RunningBox:
    """A box that answers at `url`; `client` asks it."""

    url: str
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient

    async def state(self) -> dict[str, object]:
        """What the box shows."""
        answer = await self.client.get("/state")
        shown: dict[str, object] = answer.raise_for_status().json()
        return shown

    async def tell(self, path: str, **body: object) -> httpx.Response:
        """Post a JSON object; the answer, refused or not."""
        return await self.client.post(path, json=body)


@contextlib.asynccontextmanager
async def running_box(*options: str) -> AsyncIterator[RunningBox]:
    """A box on a free port, gone at the end whatever happens."""
    command = [sys.executable, "-m", "examples.settopbox", "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        url = line.decode().split()[-1]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield RunningBox(url, process, client)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.communicate()
