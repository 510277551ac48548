"""A connection for the life of a part: connect, work, notice its end, back off, connect again.

Plain `aio_pika.connect`: `connect_robust` restores consumers behind our back, and what was admitted under the old
connection is then acknowledged on the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aiormq.exceptions as amqp
from aio_pika.abc import AbstractConnection
from yarl import URL

from libs.chassis import metrics, tls
from libs.chassis.amqp.channel import reason
from libs.chassis.amqp.readable import ReadableTransport
from libs.chassis.backoff import delays
from libs.chassis.errors import ConnectionLost, NotLetIn, Refused, Transient
from libs.chassis.logs import get_logger

log = get_logger(__name__)

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 5.0
# A connection that held this long was a good one: the next pause starts small again.
GOOD_AFTER_SECONDS = 10.0

STUBBORN_SECONDS = 10.0
"""More than a body takes to close what it opened: only then is it told once more to end."""

_CONNECTED = metrics.gauge("amqp_connected", "1 while the connection is up", ["connection"])
_LOST = metrics.counter("amqp_connections_lost", "Connections that ended by themselves", ["connection"])


class _Connection(aio_pika.Connection):
    """aio-pika's, over a transport that no message can break."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # What is given to `aio_pika.connect` is narrowed to what it knows; this goes through to aiormq.
        self.kwargs["transport_factory"] = ReadableTransport()

    def __del__(self) -> None:
        """What is forgotten is closed where that can be awaited; aio-pika's own makes a coroutine also elsewhere."""
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            super().__del__()


async def connect(url: str, *, name: str, heartbeat: int = 10) -> AbstractConnection:
    """One connection, shown to operators as `name`; `heartbeat` in seconds.

    An `amqps://` url may name who is trusted (`cafile`) and what we show (`certfile`, `keyfile`), read anew each time;
    certificate and name are checked whatever else it says. `ConnectionLost` if the broker is not there within ten
    seconds, `NotLetIn` if it does not let us in.
    """
    try:
        return await aio_pika.connect(
            URL(url).update_query(heartbeat=heartbeat),
            client_properties={"connection_name": name},
            timeout=CONNECT_SECONDS,
            connection_class=_Connection,
            ssl_context=await asyncio.to_thread(tls.amqp_context, url),
        )
    except (amqp.AuthenticationError, amqp.ProbableAuthenticationError, amqp.ConnectionNotAllowed) as error:
        raise NotLetIn(f"the broker does not let {name} in: {reason(error)}") from error
    except (amqp.AMQPError, OSError, EOFError) as error:  # TimeoutError is an OSError
        raise ConnectionLost(f"no broker for {name}{_at(url)}: {_why(url, error)}") from error
    except StopAsyncIteration as error:
        # aiormq's word for a connection that was accepted and closed: a proxy whose broker is away.
        raise ConnectionLost(f"no broker for {name}{_at(url)}: it closed the connection at once") from error


def _at(url: str) -> str:
    place = urlsplit(url).netloc.rpartition("@")[2]
    return f" at {place}" if place else ""


def _why(url: str, error: BaseException) -> str:
    why = tls.in_words(error) or reason(error)
    # A port of TLS has nothing to say to whom begins in the clear.
    is_reset = isinstance(error.__cause__, ConnectionResetError | asyncio.IncompleteReadError)
    return f"{why}; if TLS is spoken there, write amqps://" if is_reset and url.startswith("amqp://") else why


async def close(connection: AbstractConnection) -> None:
    """Close it, in five seconds at most; nothing happens if it is closed."""
    with contextlib.suppress(TimeoutError, amqp.AMQPError, OSError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()


@contextlib.asynccontextmanager
async def closing(connection: AbstractConnection) -> AsyncIterator[AbstractConnection]:
    """The connection for a block of code, closed after it: `async with closing(await connect(…)) as connection`."""
    try:
        yield connection
    finally:
        await close(connection)


async def forever(
    url: str | Callable[[], str],
    name: str,
    body: Callable[[AbstractConnection], Awaitable[None]],
    stopping: asyncio.Event,
    *,
    on_up: Callable[[], None] | None = None,
    on_down: Callable[[Exception], None] | None = None,
    heartbeat: int = 10,
) -> None:
    """Run `body(connection)`, anew on a new connection each time the former is lost, until `stopping` is set.

    `body` is cancelled when its connection closes, for whatever reason: a dead connection is never silently idle.
    When `stopping` is set, `body` is expected to finish its work and to return; then the connection is closed. It may
    also return before, which ends the session. Between attempts: 0.2 s doubling to 5 s, with jitter. A body that
    raises `Transient` is treated like a lost connection; every other error passes through to the caller, `Refused`
    and `ConsumerCancelled` too.
    """
    pauses = delays(jitter=_jitter)
    loop = asyncio.get_running_loop()
    connected = _CONNECTED.labels(name)
    while not stopping.is_set():
        up_since: float | None = None
        try:
            connection = await _unless(
                stopping, connect(url if isinstance(url, str) else url(), name=name, heartbeat=heartbeat)
            )
            if connection is None:
                return
            async with closing(connection):
                up_since = loop.time()
                connected.set(1)
                log.info("Connected to the broker", connection=name)
                if on_up is not None:
                    on_up()
                await _attend(connection, body)
                return
        except (Transient, amqp.AMQPConnectionError, amqp.ChannelClosed, amqp.ChannelInvalidStateError) as error:
            if isinstance(error, amqp.ChannelPreconditionFailed | amqp.ChannelAccessRefused):
                raise Refused(reason(error)) from error
            if up_since is not None:
                _LOST.labels(name).inc()
                if loop.time() - up_since >= GOOD_AFTER_SECONDS:
                    pauses = delays(jitter=_jitter)
            pause = next(pauses)
            log.warning("Without the broker", connection=name, reason=reason(error), again_in_seconds=round(pause, 2))
            if on_down is not None:
                on_down(error)
        finally:
            connected.set(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stopping.wait()


def lost(connection: AbstractConnection) -> asyncio.Future[None]:
    """Done as soon as the connection is closed by anyone.

    aio-pika's own `closed()` is not: on a plain connection it waits for a `close()` of ours.
    """
    if connection.transport is None:
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        closed.set_result(None)
        return closed
    return connection.transport.connection.closing


async def _attend(connection: AbstractConnection, body: Callable[[AbstractConnection], Awaitable[None]]) -> None:
    closed = lost(connection)
    work = asyncio.ensure_future(body(connection))
    try:
        await asyncio.wait({work, closed}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        await end_task(work)
        if not work.cancelled():
            work.result()
    finally:
        await end_task(work)
    raise ConnectionLost(reason(None if closed.cancelled() else closed.exception()))


async def end_task(work: asyncio.Future[None]) -> None:
    """Cancel it, again and again: a library below that takes a cancellation for itself must not keep us for ever."""
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=STUBBORN_SECONDS)


async def _unless(stopping: asyncio.Event, work: Awaitable[AbstractConnection]) -> AbstractConnection | None:
    """The result of `work`, or None if `stopping` is set first."""
    attempt = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({attempt, told}, return_when=asyncio.FIRST_COMPLETED)
        if attempt.done():
            return attempt.result()
        return None
    finally:
        told.cancel()
        if not attempt.done():
            attempt.cancel()
            await asyncio.wait({attempt})


def _jitter() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311  # spreads reconnects, guards nothing
