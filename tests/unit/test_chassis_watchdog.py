"""Work with a watch beside it: the first error of either comes out, and is told once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest

from libs.chassis.amqp.watchdog import watched
from libs.chassis.errors import ConnectionLost, ConsumerSilent
from tests.support.wait import turns_of_the_loop


async def fails(error: Exception) -> None:
    raise error


async def fails_when_cancelled(error: Exception) -> None:
    """As aiormq's calls do on a connection that is lost."""
    try:
        await for_ever()
    except asyncio.CancelledError:
        raise error from None


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_the_watch_finds_ends_the_work() -> None:
    with pytest.raises(ConsumerSilent):
        await watched(for_ever(), fails(ConsumerSilent("nothing comes")))


async def test_the_end_of_the_work_ends_the_watch() -> None:
    await watched(turns_of_the_loop(1), for_ever())


async def test_a_lost_connection_ends_both_and_is_told_once() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with contextlib.suppress(ConnectionLost):  # which keeps no frame alive, and so neither task
        await watched(fails(ConnectionLost("work")), fails_when_cancelled(ConnectionLost("watch")))
    gc.collect()
    assert not told
