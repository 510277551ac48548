"""Three ways of waiting that the parts of the runner share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress


async def together(*work: Coroutine[None, None, None]) -> None:
    """Run all until all have returned; the first error ends the others and comes out alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Wait until one of the two is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Wait so long, or until `stopping` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
