"""The virtual set-top box as a value: time is told, nothing is waited for."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from examples.settopbox.box import FIRST_CHANNEL, LAST_CHANNEL, Box, Power, Refusal, zap_ms

CHANNELS = range(FIRST_CHANNEL, LAST_CHANNEL + 1)


def box() -> Box:
    return Box(name="stb-1", now=1000.0, boot_seconds=3.0)


def test_every_zap_is_realistic_and_the_times_differ() -> None:
    times = [zap_ms(old, new) for old, new in product(CHANNELS, CHANNELS)]
    assert min(times) >= 50
    assert max(times) <= 300
    assert len(set(times)) > 200


def test_the_box_is_on_the_channel_only_when_the_zap_is_over() -> None:
    stb = box()
    zap = stb.tune(42, 1000.0)
    assert zap.seconds == zap_ms(1, 42) / 1000
    halfway = stb.state(1000.0 + zap.seconds / 2)
    assert (halfway["channel"], halfway["tuning_to"]) == (1, 42)
    arrived = stb.state(1000.0 + zap.seconds)
    assert (arrived["channel"], arrived["tuning_to"]) == (42, None)


def test_a_second_zap_during_a_zap_is_refused() -> None:
    stb = box()
    stb.tune(42, 1000.0)
    with pytest.raises(Refusal, match="still tuning to channel 42"):
        stb.tune(43, 1000.01)


def test_a_reboot_takes_its_time_loses_the_zap_and_starts_the_uptime_again() -> None:
    stb = box()
    assert stb.state(1500.0)["uptime_seconds"] == 500.0
    stb.tune(42, 1500.0)
    stb.switch("reboot", 1500.01)
    with pytest.raises(Refusal, match=r"booting, ready in 2\.0 s"):
        stb.tune(7, 1501.01)
    assert stb.state(1503.0)["power"] is Power.BOOTING
    after = stb.state(1504.01)
    assert (after["power"], after["channel"], after["uptime_seconds"], after["boots"]) == (Power.ON, 1, 1.0, 2)


def test_off_refuses_all_but_power() -> None:
    stb = box()
    stb.switch("off", 1001.0)
    with pytest.raises(Refusal, match="stb-1 is off"):
        stb.tune(5, 1002.0)
    with pytest.raises(Refusal, match="stb-1 is off"):
        stb.press("MUTE", 1002.0)
    with pytest.raises(Refusal, match="switch it on instead"):
        stb.switch("reboot", 1002.0)
    stb.press("POWER", 1002.0)
    assert stb.state(1002.0)["power"] is Power.BOOTING


def test_the_channel_keys_wrap_around() -> None:
    stb = box()
    down = stb.press("CHANNEL_DOWN", 1000.0)
    assert down is not None
    assert stb.state(1000.0 + down.seconds)["channel"] == LAST_CHANNEL
    up = stb.press("CHANNEL_UP", 1001.0)
    assert up is not None
    assert stb.state(1001.0 + up.seconds)["channel"] == FIRST_CHANNEL


def test_the_temperature_drifts_slowly_and_without_a_jump() -> None:
    stb = box()

    def degrees(at: float) -> float:
        value = stb.state(at)["temperature_celsius"]
        assert isinstance(value, float)
        return value

    warm = degrees(3000.0)
    assert 50.0 < warm < 54.0
    stb.switch("off", 3000.0)
    assert degrees(3000.0) == warm
    cooling = [degrees(3000.0 + 10 * step) for step in range(1, 300)]
    assert max(abs(b - a) for a, b in pairwise(cooling)) < 2.5
    assert 22.0 < cooling[-1] < 26.0
