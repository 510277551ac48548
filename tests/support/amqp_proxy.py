"""A broker's faults as its clients see them: a proxy on the loopback interface that understands AMQP 0-9-1 frames.

A frame is one byte of type, two of channel, four of size, so many of payload, and 0xCE (AMQP 0-9-1, 4.2.3). Everything
passes, heartbeats too, but what a test takes out: deliveries of a channel or of a queue, a consumer's registration.
It can also hold back all that clients say.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.support.wait import until_after_async

_PROTOCOL_HEADER_BYTES = 8
_START = struct.Struct(">BHI")
_METHOD, _HEADER, _BODY, _END = 1, 2, 3, 0xCE
_CONSUME, _CONSUME_OK, _DELIVER = ((60, method) for method in (20, 21, 60))
_LOOK_SECONDS = 0.05


class AmqpProxy:
    """Listens on a port of its own; faults are switched on for queues, by name, and hold for later connections too."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.muted_channels: set[str] = set()
        """Queues: the channels that one of them is consumed on deliver nothing."""
        self.muted_queues: set[str] = set()
        """Queues of which nothing is delivered; other consumers of the same channel hear what is theirs."""
        self.forged: set[str] = set()
        """Queues whose consumers are told that they consume, and the broker is not told of them."""
        self.holds_back = False
        """Whether the broker reads nothing from its clients for now, as from publishers while its memory runs out."""
        self.dropped = 0
        """Deliveries that were lost here."""
        self.forgeries = 0
        """Consumers that believe so."""

    @property
    def url(self) -> str:
        """As the broker's, with the proxy's port."""
        assert self._server is not None
        login = self._target.netloc.rpartition("@")[0]
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._target._replace(netloc=f"{login}@127.0.0.1:{port}"))

    @property
    def delivered(self) -> Counter[str]:
        """Deliveries that passed, by their queue, on the connections that are open."""
        return sum((client.delivered for client in self._clients), Counter[str]())

    @property
    def consumed(self) -> set[str]:
        """Queues that somebody asked to consume, on the connections that are open."""
        return {queue for client in self._clients for queue in client.consumed}

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Listen no more, and cut all."""
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._serving:
            await asyncio.wait(self._serving)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Close all connections: what a restart of the broker looks like."""
        for client in list(self._clients):
            client.cut()

    def heal(self) -> None:
        """No faults from now on; what was lost is lost, and a channel with a frame missing stays as it is."""
        self.muted_channels.clear()
        self.muted_queues.clear()
        self.forged.clear()
        self.holds_back = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            upstream = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            await _closed(writer)
            return
        client = _Client(self, (reader, writer), upstream)
        self._clients.add(client)
        try:
            await client.run()
        finally:
            self._clients.discard(client)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Client:
    """One connection through the proxy."""

    def __init__(self, proxy: AmqpProxy, client: Streams, broker: Streams) -> None:
        self._proxy = proxy
        self._client, self._broker = client, broker
        self.delivered: Counter[str] = Counter()
        self._queues: dict[tuple[int, str], str] = {}
        self._losing: set[int] = set()

    @property
    def consumed(self) -> set[str]:
        return set(self._queues.values())

    def cut(self) -> None:
        for _, writer in (self._client, self._broker):
            writer.transport.abort()

    async def run(self) -> None:
        ways = [asyncio.create_task(self._to_broker()), asyncio.create_task(self._to_client())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            for _, writer in (self._client, self._broker):
                await _closed(writer)

    async def _to_broker(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._broker[1].write(await self._client[0].readexactly(_PROTOCOL_HEADER_BYTES))
            async for kind, channel, payload, raw in _frames(self._client[0]):
                if kind == _METHOD and struct.unpack_from(">HH", payload) == _CONSUME:
                    queue, tag = _short_strings(payload, 6, 2)
                    self._queues[channel, tag] = queue
                    if queue in self._proxy.forged:
                        self._proxy.forgeries += 1
                        self._client[1].write(_frame(channel, struct.pack(">HH", *_CONSUME_OK) + _short(tag)))
                        continue
                while self._proxy.holds_back:
                    await until_after_async(_LOOK_SECONDS)
                self._broker[1].write(raw)
                await self._broker[1].drain()

    async def _to_client(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            async for kind, channel, payload, raw in _frames(self._broker[0]):
                if not self._is_lost(kind, channel, payload):
                    self._client[1].write(raw)
                    await self._client[1].drain()

    def _is_lost(self, kind: int, channel: int, payload: bytes) -> bool:
        """A lost delivery is lost with its header and body, which follow it on its channel."""
        if kind == _METHOD:
            self._losing.discard(channel)
            method = struct.unpack_from(">HH", payload)
            return method == _DELIVER and self._is_lost_delivery(channel, _short_strings(payload, 4, 1)[0])
        return kind in {_HEADER, _BODY} and channel in self._losing

    def _is_lost_delivery(self, channel: int, tag: str) -> bool:
        if self._is_muted(channel, tag):
            self._losing.add(channel)
            self._proxy.dropped += 1
            return True
        self.delivered[self._queues.get((channel, tag), "")] += 1
        return False

    def _is_muted(self, channel: int, tag: str) -> bool:
        if self._queues.get((channel, tag)) in self._proxy.muted_queues:
            return True
        consumed = {queue for (number, _), queue in self._queues.items() if number == channel}
        return bool(consumed & self._proxy.muted_channels)


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, int, bytes, bytes]]:
    """Type, channel and payload of each frame, and the frame as it came."""
    while True:
        start = await reader.readexactly(_START.size)
        kind, channel, size = _START.unpack(start)
        rest = await reader.readexactly(size + 1)
        assert rest[-1] == _END, "frames are out of step"
        yield kind, channel, rest[:-1], start + rest


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _frame(channel: int, payload: bytes) -> bytes:
    return _START.pack(_METHOD, channel, len(payload)) + payload + bytes([_END])


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _short_strings(payload: bytes, at: int, number: int) -> list[str]:
    found = []
    for _ in range(number):
        length = payload[at]
        found.append(payload[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return found


@asynccontextmanager
async def a_proxy(url: str) -> AsyncIterator[AmqpProxy]:
    """One before the broker at `url`, for as long as the block lasts."""
    proxy = AmqpProxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
