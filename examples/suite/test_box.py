"""A small suite for a set-top box: it is on, it has a picture, it zaps, its volume obeys."""

from __future__ import annotations

import time
from typing import Any

import pytest


def test_it_is_on_and_cool(box: Any) -> None:
    state = box.state()
    assert state["power"] == "on"
    assert state["temperature_celsius"] < 70


def test_the_tuner_has_a_lock(box: Any) -> None:
    assert box.state()["tuner_locked"], "no signal"


def test_the_picture_moves(box: Any) -> None:
    before = box.state()["frames"]
    time.sleep(0.2)
    assert box.state()["frames"] > before, "the picture stands still"


@pytest.mark.parametrize("channel", [1, 7, 42])
def test_it_zaps_where_it_was_told_to_and_in_time(box: Any, channel: int, max_zap_ms: float) -> None:
    began = time.monotonic()
    box.ask("/channel", channel=channel)
    took_ms = (time.monotonic() - began) * 1000
    assert box.state()["channel"] == channel
    assert took_ms <= max_zap_ms


def test_the_volume_obeys_the_remote_control(box: Any) -> None:
    before = box.state()["volume"]
    assert box.ask("/key", key="VOLUME_DOWN")["volume"] == before - 1
    assert box.ask("/key", key="VOLUME_UP")["volume"] == before
