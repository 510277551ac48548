"""The identity of a fire: the same nominal fire has the same id for ever, whoever computes it.

Recipe (architecture 4, fixed for ever; golden vectors in tests/contract/golden/ids.json):

    ms = scheduled_at in milliseconds since 1970, 6 bytes, big endian
    id = ms || sha256(deployment_id bytes || ms as 8 bytes big endian)[:10], version nibble 8, variant 10

Ids of manual runs are UUIDv7: the same first 48 bits, then random ones. So all ids sort by time and the table of
executions is partitioned by id.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _stamped(head: bytes, tail: bytes, version: int) -> UUID:
    raw = bytearray(head + tail)
    raw[6] = (raw[6] & 0x0F) | (version << 4)
    raw[8] = (raw[8] & 0x3F) | 0x80
    return UUID(bytes=bytes(raw))


def fire_id(deployment_id: UUID, scheduled_at: datetime) -> UUID:
    """The UUIDv8 of the fire of `deployment_id` at the nominal time `scheduled_at` (aware; milliseconds count)."""
    ms = _milliseconds(scheduled_at)
    digest = sha256(deployment_id.bytes + ms.to_bytes(8, "big")).digest()
    return _stamped(ms.to_bytes(6, "big"), digest[:10], 8)


def manual_id(at: datetime, entropy: bytes) -> UUID:
    """A UUIDv7 for something that a person or a program started at `at`; `entropy` is 10 random bytes of the caller."""
    return _stamped(_milliseconds(at).to_bytes(6, "big"), entropy[:10], 7)


def time_of(identity: UUID) -> datetime:
    """The time that an id of either kind carries, in UTC, to the millisecond."""
    return _EPOCH + int.from_bytes(identity.bytes[:6], "big") * _MILLISECOND


def first_id(at: datetime) -> UUID:
    """The smallest id of the instant `at`: the bound of a partition or of a range of time."""
    return UUID(bytes=_milliseconds(at).to_bytes(6, "big") + bytes(10))
