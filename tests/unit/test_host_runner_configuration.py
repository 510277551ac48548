"""What a runner is told: devices from either place, the clock's offset, all settings checked at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.chassis.settings import SettingsError, load
from libs.contracts import DeviceInfo
from services.host_runner import devices
from services.host_runner.clock import KEPT, Reading, Readings, read
from services.host_runner.settings import Settings
from tests.support.host_runner import at

GIVEN = {
    "RIGBEAT_HOST_NAME": "lab-1",
    "RIGBEAT_AMQP_URL": "amqp://user:secret@127.0.0.1/",
    "RIGBEAT_API_URL": "http://127.0.0.1:8080",
    "RIGBEAT_TOKEN": "secret",
    "RIGBEAT_SCRIPTS_DIR": "/srv/scripts",
    "RIGBEAT_STATE_DIR": "/var/lib/rigbeat",
}


def test_the_defaults_are_those_of_the_handbook() -> None:
    settings = load(Settings, GIVEN)
    assert settings.deployments_log == Path("/tmp/deployments.log")
    assert (settings.heartbeat_seconds, settings.grace_seconds, settings.max_output_bytes) == (10, 10, 256 << 20)
    assert settings.devices == ()
    assert settings.script_path


@pytest.mark.parametrize(
    "given", ['{"RIGBEAT_TOKEN": "x"}', '{"": "x"}', '{"A=B": "x"}', '{"A": "x\\u0000"}', '{"A": 5}', "[]"]
)
def test_what_scripts_find_besides_are_variables_that_can_be(given: str) -> None:
    with pytest.raises(SettingsError, match="RIGBEAT_SCRIPT_ENVIRONMENT"):
        load(Settings, GIVEN | {"RIGBEAT_SCRIPT_ENVIRONMENT": given})
    settings = load(Settings, GIVEN | {"RIGBEAT_SCRIPT_ENVIRONMENT": '{"HOME": "/srv/lab"}'})
    assert settings.script_environment == {"HOME": "/srv/lab"}
    assert load(Settings, GIVEN).script_environment == {}


def test_devices_come_as_json() -> None:
    settings = load(Settings, GIVEN | {"RIGBEAT_DEVICES": '[{"device_id": "stb-1", "labels": {"room": "4"}}]'})
    assert settings.devices == (DeviceInfo(device_id="stb-1", labels={"room": "4"}),)


def test_all_that_is_wrong_is_said_at_once_and_no_secret() -> None:
    wrong = {**GIVEN, "RIGBEAT_HOST_NAME": "Lab 1", "RIGBEAT_MAX_PARALLEL": "0", "RIGBEAT_HEARTBEAT_SECONDS": "60"}
    with pytest.raises(SettingsError) as error:
        load(Settings, wrong)
    assert {problem.split(":")[0] for problem in error.value.problems} == {
        "RIGBEAT_HOST_NAME",
        "RIGBEAT_MAX_PARALLEL",
        "RIGBEAT_HEARTBEAT_SECONDS",
    }
    assert "secret" not in str(error.value)


def test_devices_from_the_file_if_none_are_given(tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(
        '[[devices]]\ndevice_id = "stb-1"\nmodel = "box"\nlabels = { room = "4" }\n[[devices]]\ndevice_id = "stb-2"\n'
    )
    found = devices.load((), tmp_path)
    assert [device.device_id for device in found] == ["stb-1", "stb-2"]
    assert found[0].labels == {"room": "4"}
    given = (DeviceInfo(device_id="other"),)
    assert devices.load(given, tmp_path) == given


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("devices = [", "cannot be read"),
        ("[[devices]]\nmodel = 'x'\n", "device_id"),
        ("[[devices]]\ndevice_id = 'a'\n[[devices]]\ndevice_id = 'a'\n", "a is named twice"),
        ("devices = []\n", "name at least one device"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "devices.toml").write_text(text)
    with pytest.raises(SettingsError, match=words):
        devices.load((), tmp_path)


def test_no_devices_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name at least one device"):
        devices.load((), tmp_path)


def test_the_offset_is_taken_in_the_middle_of_a_quick_round_trip() -> None:
    assert read(at(0), at(1), at(10)) == Reading(9.5, 0.5)
    slow = read(at(0), at(1.999), at(-5))
    assert slow is not None
    assert slow.offset_seconds == pytest.approx(-5.9995)
    assert slow.error_seconds == pytest.approx(0.9995)
    assert read(at(0), at(2), at(10)) is None
    assert read(at(5), at(4), at(10)) is None  # the host's clock was set back meanwhile


def test_of_the_latest_answers_the_quickest_counts() -> None:
    readings = Readings()
    assert readings.best is None
    for slow in (0.3, 0.4, 0.25):
        readings = readings.add(Reading(-slow / 2, slow))
    readings = readings.add(Reading(0.01, 0.02)).add(Reading(-0.2, 0.4))
    assert readings.best == Reading(0.01, 0.02)
    assert readings.are_few
    for _ in range(KEPT):
        readings = readings.add(Reading(0.03, 0.05))
    assert readings.best == Reading(0.03, 0.05), "an old answer does not count for ever: clocks drift"
    assert not readings.are_few


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    readings = Readings().add(Reading(0.01, 0.02)).add(Reading(3600.0, 0.5))
    assert readings.best == Reading(3600.0, 0.5)
    assert readings.kept == (Reading(3600.0, 0.5),)
