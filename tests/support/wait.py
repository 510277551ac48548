"""Waiting for conditions with a deadline: the only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.02


def until(condition: Callable[[], T], *, within: float, what: str = "") -> T:
    """Call `condition` until it answers something true and return that; `AssertionError` after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within} s: {what or condition} (last answer: {answer!r})")
        time.sleep(_PAUSE_SECONDS)


def until_after(seconds: float) -> None:
    """Return so many seconds later: only for faults that are a delay, and for moments that are drawn."""
    time.sleep(seconds)


async def until_after_async(seconds: float) -> None:
    """The same for a coroutine: everything else of the loop goes on meanwhile."""
    await asyncio.sleep(seconds)


async def turns_of_the_loop(number: int) -> None:
    """Let the event loop come round so often: not a time, but how far it has read and told."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until_async(condition: Callable[[], Awaitable[T]], *, within: float, what: str = "") -> T:
    """The same for a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within} s: {what or condition} (last answer: {answer!r})")
        await asyncio.sleep(_PAUSE_SECONDS)
