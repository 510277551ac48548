"""Frames from the broker that the library could not decode: made readable, and nothing else is touched."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp import encode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from libs.chassis.amqp.readable import readable

METHOD, HEADER, BODY = 1, 2, 3
END = b"\xce"


def header(flags: int, properties: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 512, flags) + properties + END


def deliver(key: bytes, exchange: bytes = b"rigbeat.results") -> bytes:
    parts = (b"tag", struct.pack(">QB", 2**63 + 255, 1), exchange, key)
    tag, between, exchange, key = parts
    names = [bytes([len(name)]) + name for name in (tag, exchange, key)]
    return struct.pack(">HH", 60, 60) + names[0] + between + names[1] + names[2] + END


def nested(depth: int) -> bytes:
    table: dict[str, Any] = {}
    for _ in range(depth):
        table = {"t": table}
    return encode.field_table(table)


@pytest.mark.parametrize(
    ("flags", "properties"),
    [
        (1 << 5, b"\x02\xff\xfe"),  # the type is no UTF-8
        (1 << 13, struct.pack(">I", 7) + b"\x02\xff\xfeS\0\0\0"),  # nor the name of a header
        (1 << 13, struct.pack(">I", 3) + b"\x01k?"),  # a value of no known kind
        (1 << 13, struct.pack(">I", 9_999)),  # a table longer than its frame
        (1 << 13, nested(40)),
        (1 << 6, b"\xff" * 8),  # a time beyond all calendars
        (1 << 7, b"\x20short"),  # fewer bytes than announced, and then nothing
        (1, b""),  # more flags are announced than there are
    ],
)
def test_properties_that_cannot_be_decoded_are_not_given(flags: int, properties: bytes) -> None:
    payload = header(flags, properties)
    made = readable(HEADER, payload)
    assert len(made) == len(payload)
    decoded = ContentHeader()
    decoded.unmarshal(made[:-1])
    assert decoded.body_size == 512
    assert decoded.properties.message_type is None
    assert not decoded.properties.headers


def test_good_properties_stay_as_they_are() -> None:
    properties = Basic.Properties(
        message_type="execution.finished.v1",
        message_id="é",
        headers={"x-death": [{"count": 1}]},
        timestamp=datetime.now(UTC),  # noqa: TID251
    )
    payload = ContentHeader(properties=properties, body_size=3).marshal() + END
    assert readable(HEADER, payload) is payload


def test_a_routing_key_that_is_no_text_becomes_one() -> None:
    bad = deliver(b"\xfflab.finished")
    assert readable(METHOD, bad) == deliver(b"?lab.finished")
    for good in (deliver(b"lab-1.finished"), deliver("läb.finished".encode()), deliver(b"", b"")):
        assert readable(METHOD, good) is good


def test_other_frames_pass() -> None:
    confirm = struct.pack(">HHQB", 60, 80, 2**63, 0) + END
    assert readable(METHOD, confirm) is confirm
    content = b"\xff" * 100 + END
    assert readable(BODY, content) is content
