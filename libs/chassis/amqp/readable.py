"""Frames that the library below cannot decode, made readable before it sees them.

Any sender may put bytes into a message's properties or routing key that are no UTF-8, no time, no table. The broker
hands them on as they are; pamqp raises, aiormq's reader ends with its connection, the broker delivers the message
again: one such message would stop a queue for ever. So whatever comes from the broker passes here first. Properties
that cannot be decoded are taken as not given (the consumer then has a message without a type, for the dead letters),
bytes of a routing key that are no text become question marks. No length changes.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, cast

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp.constants import FRAME_HEADER, FRAME_METHOD
from pamqp.header import ContentHeader
from yarl import URL

from libs.chassis import metrics
from libs.chassis.logs import get_logger

log = get_logger(__name__)

_FRAME_START = 7  # type, channel, size
_DELIVER = struct.pack(">HH", 60, 60)
_RETURN = struct.pack(">HH", 60, 50)
_FLAGS = slice(12, 14)  # after class, weight and size of the body
_MOST_NESTED = 16

# What pamqp lets through of its own doing; a table that nests too deeply is RecursionError.
_UNDECODABLE = (ValueError, TypeError, ArithmeticError, LookupError, OSError, RecursionError, struct.error)

_UNREADABLE = metrics.counter("amqp_unreadable", "Messages whose properties or routing key could not be decoded")


class ReadableTransport(TransportFactory):
    """Opens connections whose frames can all be decoded."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As aiormq does it, with our reader before the other one."""
        factory: TransportFactory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await factory.create(url, **kwargs)
        return cast("asyncio.StreamReader", ReadableFrames(reader)), writer


class ReadableFrames:
    """What aiormq asks of a reader: a byte, six bytes, and then the rest of the frame that they announce."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._start = b""

    def at_eof(self) -> bool:
        """Whether nothing more comes."""
        return self._reader.at_eof()

    async def read(self) -> bytes:
        """All that is left."""
        return await self._reader.read()

    async def readexactly(self, number: int) -> bytes:
        """The next bytes; `asyncio.IncompleteReadError` at the end."""
        content = await self._reader.readexactly(number)
        if len(self._start) < _FRAME_START:
            self._start = self._start + content
            return content
        kind, self._start = self._start[0], b""
        return readable(kind, content)


def readable(kind: int, payload: bytes) -> bytes:
    """The payload of a frame of this kind, as it is or so that it can be decoded; it is as long as before."""
    if kind == FRAME_HEADER:
        return _without_bad_properties(payload)
    if kind == FRAME_METHOD and payload[:4] in {_DELIVER, _RETURN}:
        return _with_text_as_key(payload)
    return payload


def _without_bad_properties(payload: bytes) -> bytes:
    try:
        header = ContentHeader()
        header.unmarshal(payload[:-1])
        _refuse_nests(header.properties.headers)
    except _UNDECODABLE as error:
        _note("properties", error)
        return payload[: _FLAGS.start] + b"\0\0" + payload[_FLAGS.stop :]
    return payload


def _refuse_nests(value: object, depth: int = 0) -> None:
    # What decodes may still be too deep for whoever walks through it later.
    if depth > _MOST_NESTED:
        raise ValueError("headers nest too deeply")
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _refuse_nests(one, depth + 1)


def _with_text_as_key(payload: bytes) -> bytes:
    # The key is the last field, before the byte that ends the frame.
    if payload[:4] == _DELIVER:
        after_tag = 5 + payload[4]
        exchange = after_tag + 9  # delivery tag, redelivered
    else:
        exchange = 7 + payload[6]  # reply code, reply text
    length_at = exchange + 1 + payload[exchange]
    key = payload[length_at + 1 : length_at + 1 + payload[length_at]]
    if key.isascii():
        return payload
    try:
        key.decode()
    except UnicodeDecodeError as error:
        _note("routing key", error)
        text = bytes(byte if byte < 0x80 else ord("?") for byte in key)
        return payload[: length_at + 1] + text + payload[length_at + 1 + len(key) :]
    return payload


def _note(what: str, error: Exception) -> None:
    _UNREADABLE.inc()
    log.warning(
        "A message cannot be decoded and is taken without it", what=what, error=f"{type(error).__name__}: {error}"
    )
