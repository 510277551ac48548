"""The virtual set-top box as a value: time is told, nothing is waited for."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from examples.settopbox.box import FIRST_CHANNEL, LAST_CHANNEL, Box, Power, zap_ms
from examples.settopbox.faults import Fault, Faults, Refusal, Spell

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


def test_a_tuner_without_lock_refuses_every_channel_and_says_so() -> None:
    stb = box()
    stb.faults.switch_on("tuner", 1000.0, seconds=60)
    with pytest.raises(Refusal, match="no lock: no signal on channel 5"):
        stb.tune(5, 1001.0)
    assert stb.state(1001.0)["tuner_locked"] is False
    assert stb.tune(5, 1060.0).arrives_at == 5, "over after its 60 seconds"
    assert stb.state(1060.0)["tuner_locked"] is True


def test_the_wrong_channel_is_the_next_one() -> None:
    stb = box()
    stb.faults.switch_on("wrong-channel", 1000.0)
    zap = stb.tune(LAST_CHANNEL, 1000.0)
    assert (zap.channel, zap.arrives_at) == (LAST_CHANNEL, FIRST_CHANNEL)
    assert stb.state(1001.0)["channel"] == FIRST_CHANNEL
    stb.faults.mend()
    stb.tune(41, 1001.0)
    assert stb.state(1002.0)["channel"] == 41


def test_a_frozen_picture_has_no_new_frames() -> None:
    stb = box()
    assert stb.state(1010.0)["frames"] == 250
    stb.faults.switch_on("frozen", 1010.0)
    assert stb.state(1020.0)["frames"] == 250
    stb.faults.mend("frozen")
    assert stb.state(1021.0)["frames"] == 275


def test_a_box_that_reboots_does_so_again_and_again_until_it_is_mended() -> None:
    stb = box()
    stb.faults.switch_on("reboot", 1000.0)
    powers = [stb.state(1000.0 + second)["power"] for second in range(15)]
    assert powers == ["booting"] * 3 + ["on"] * 7 + ["booting"] * 3 + ["on"] * 2
    stb.faults.mend()
    assert [stb.state(1015.0 + second)["power"] for second in range(20)] == ["on"] * 20


def test_a_spell_comes_by_the_clock_and_no_hand_ends_it() -> None:
    faults = Faults([Spell.parse("tuner:180:60")])
    seen = [faults.is_on(Fault.TUNER, 1_800_000_000.0 + minute * 60) for minute in range(6)]
    assert seen == [True, False, False, True, False, False]
    faults.mend()
    assert faults.is_on(Fault.TUNER, 1_800_000_000.0)
    assert not faults.is_on(Fault.AWAY, 1_800_000_000.0)


@pytest.mark.parametrize(
    "text", ["tuner", "tuner:180", "fire:180:60", "tuner:60:61", "tuner:60:0", "tuner:a:b", "tuner:1:1:1"]
)
def test_what_is_no_spell_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Spell.parse(text)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("fire", {}, "fault is one of slow, tuner"),
        ("tuner", {"seconds": 0}, "seconds is more than 0"),
        ("tuner", {"latency_ms": 5}, "belongs to the fault slow"),
        ("slow", {"latency_ms": 60_001}, "from 0 to 60000"),
    ],
)
def test_what_is_no_fault_is_refused(name: str, options: dict[str, int], sentence: str) -> None:
    faults = Faults()
    with pytest.raises(Refusal, match=sentence):
        faults.switch_on(name, 1000.0, **options)
    assert faults.shown(1000.0)["on"] == {}


def test_every_fault_can_be_switched_on_is_shown_with_what_is_left_and_ends() -> None:
    for fault in Fault:
        faults = Faults()
        faults.switch_on(fault, 1000.0, seconds=10)
        assert faults.shown(1004.0)["on"] == {fault: 6.0}
        assert [faults.is_on(other, 1004.0) for other in Fault] == [other is fault for other in Fault]
        assert not faults.is_on(fault, 1010.0)
        assert (faults.latency_ms(1004.0) > 0) == (fault is Fault.SLOW)
