"""Ids: golden vectors that no version may change, in Python and (test_ledger_schema.py) in SQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import fire_id, first_id, manual_id, time_of

VECTORS = json.loads((Path(__file__).parent / "golden" / "ids.json").read_text())
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


def test_the_golden_vectors_hold() -> None:
    for vector in VECTORS["fire"]:
        at = datetime.fromisoformat(vector["scheduled_at"])
        assert fire_id(UUID(vector["deployment_id"]), at) == UUID(vector["id"])
    for vector in VECTORS["manual"]:
        made = manual_id(datetime.fromisoformat(vector["at"]), bytes.fromhex(vector["entropy"]))
        assert made == UUID(vector["id"])


def test_the_first_vector_follows_the_recipe_by_hand() -> None:
    vector = VECTORS["fire"][0]
    ms = int(datetime.fromisoformat(vector["scheduled_at"]).timestamp() * 1000)
    tail = sha256(UUID(vector["deployment_id"]).bytes + ms.to_bytes(8, "big")).hexdigest()[:20]
    made = UUID(vector["id"]).hex
    assert made[:12] == f"{ms:012x}"
    assert made[12] == "8"
    assert made[13:16] == tail[1:4]
    assert made[16] in "89ab"
    assert made[17:] == tail[5:]


@given(INSTANTS, st.uuids())
def test_an_id_carries_its_time_and_sorts_by_it(at: datetime, deployment: UUID) -> None:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    made = fire_id(deployment, at)
    assert time_of(made) == at
    assert first_id(at) <= made < first_id(at + timedelta(milliseconds=1))
    assert (made.version, made.variant) == (8, "specified in RFC 4122")


@given(INSTANTS, st.binary(min_size=10, max_size=10))
def test_a_manual_id_is_a_uuid7(at: datetime, entropy: bytes) -> None:
    made = manual_id(at, entropy)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert abs(time_of(made) - at) < timedelta(milliseconds=1)
