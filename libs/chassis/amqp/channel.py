"""Channels of aiormq on a connection of aio-pika: opened with a deadline, closed with one, errors in our own words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

import aiormq.exceptions as amqp
from aio_pika.abc import AbstractConnection
from aiormq.channel import Channel

from libs.chassis.errors import ChassisError, ConnectionLost, QueueMissing, Refused

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 5.0
ANSWER_SECONDS = 30.0


async def open_channel(connection: AbstractConnection, *, confirms: bool) -> Channel:
    """A new channel. `ConnectionLost` if the connection is closed or does not answer."""
    transport = connection.transport
    if transport is None or transport.connection.is_closed:
        raise ConnectionLost("the connection is closed")
    with translated("opening a channel"):
        # Returns come as results and not as exceptions: a batch may hold a thousand of them.
        channel = await transport.connection.channel(
            publisher_confirms=confirms, on_return_raises=False, timeout=OPEN_SECONDS
        )
    return cast("Channel", channel)


async def close_channel(channel: Channel) -> None:
    """Close it, in five seconds at most; deliveries that are not acknowledged go back to their queues."""
    with contextlib.suppress(TimeoutError, amqp.AMQPError, amqp.ChannelInvalidStateError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.close()


@contextlib.asynccontextmanager
async def channel_of(connection: AbstractConnection) -> AsyncIterator[Channel]:
    """A channel for a few calls, whose refusal closes nothing else."""
    channel = await open_channel(connection, confirms=False)
    try:
        yield channel
    finally:
        await close_channel(channel)


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Say what aiormq raises in our words: `QueueMissing` (404), `Refused` (403, 405, 406), else `ConnectionLost`."""
    try:
        yield
    except (amqp.AMQPError, amqp.ChannelInvalidStateError, ConnectionError, TimeoutError) as error:
        if _is_cancelled():
            # aiormq waits in tasks of its own, and answers a cancellation of ours with why they ended: who was told
            # to stop would go on.
            raise asyncio.CancelledError from error
        raise _in_our_words(doing, error) from error


@contextlib.asynccontextmanager
async def answered(doing: str) -> AsyncIterator[None]:
    """`translated`, and `ConnectionLost` too when the broker does not answer in half a minute, heartbeats or not."""
    with translated(doing):
        async with asyncio.timeout(ANSWER_SECONDS):
            yield


def _in_our_words(doing: str, error: Exception) -> ChassisError:
    match error:
        case amqp.ChannelNotFoundEntity():
            return QueueMissing(f"{doing}: {reason(error)}")
        case amqp.ChannelAccessRefused() | amqp.ChannelLockedResource() | amqp.ChannelPreconditionFailed():
            return Refused(f"{doing}: {reason(error)}")
        case _:
            return ConnectionLost(f"{doing}: {reason(error)}")


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def reason(error: BaseException | None) -> str:
    """The broker's own words, in one line."""
    if error is None:
        return "closed"
    return " ".join(str(part) for part in error.args) or type(error).__name__
