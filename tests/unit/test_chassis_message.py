"""Messages as values: units, limits of the protocol, and what a death leaves in the headers."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from libs.chassis.amqp.dead import Death, death
from libs.chassis.amqp.message import Outgoing
from libs.chassis.backoff import delays

AT = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)


def message(**changes: Any) -> Outgoing:
    values: dict[str, Any] = {
        "exchange": "e",
        "routing_key": "k",
        "body": b"{}",
        "message_id": "m",
        "type": "thing.v1",
        "correlation_id": None,
        "app_id": "a",
        "timestamp": AT,
    }
    return Outgoing(**(values | changes))


@pytest.mark.parametrize(
    ("seconds", "wire"),
    [(None, None), (60, "60000"), (0.0001, "1"), (0.0, "0"), (-5.0, "0"), (1e9, "4294967295")],
)
def test_expiration_is_milliseconds_on_the_wire(seconds: float | None, wire: str | None) -> None:
    assert message(expiration_seconds=seconds).properties().expiration == wire


def test_persistence_and_names_on_the_wire() -> None:
    assert message().properties().delivery_mode == 2
    assert message(persistent=False).properties().delivery_mode == 1
    assert message().properties().message_type == "thing.v1"


@pytest.mark.parametrize(
    "changes",
    [{"message_id": ""}, {"routing_key": "ä" * 128}, {"timestamp": AT.replace(tzinfo=None)}, {"app_id": "x" * 256}],
)
def test_what_the_protocol_cannot_carry_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        message(**changes)


def test_our_reason_goes_before_the_brokers() -> None:
    brokers = {"x-first-death-queue": "q1", "x-first-death-reason": "expired", "x-first-death-exchange": "e1"}
    ours = {"x-dead-queue": "q2", "x-dead-reason": "Bad: no", "x-dead-exchange": "e2"}
    assert death({}) is None
    assert death(brokers) == Death("q1", "expired", "e1")
    assert death(brokers | ours) == Death("q2", "Bad: no", "e2")


def test_pauses_double_up_to_their_cap() -> None:
    assert list(islice(delays(), 7)) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert list(islice(delays(1, 3, 4, jitter=lambda: 0.5), 3)) == [0.5, 1.5, 2.0]
