"""Settings: all bad values at once, secrets from files, no secret in any message."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr

from libs.chassis.settings import ServiceSettings, SettingsError, load

SECRET = "hunter2-never-print-me"


class Lab(ServiceSettings):
    amqp_url: SecretStr = Field(description="amqp://user:password@host:port/")
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    devices: list[dict[str, str]] = Field(default_factory=list, description="a JSON array")
    token: Annotated[SecretStr, Field(min_length=8)] = SecretStr("x" * 8)
    state_dir: Path = Path(".rigbeat")


def problems(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(Lab, environment)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return sorted(caught.value.problems)


def test_reads_what_is_given_and_leaves_the_rest_at_its_default() -> None:
    settings = load(
        Lab,
        {
            "RIGBEAT_AMQP_URL": "amqp://a:b@c/",
            "RIGBEAT_DEVICES": '[{"device_id": "stb-1"}]',
            "RIGBEAT_LOG_FORMAT": "json",
            "RIGBEAT_HTTP_PORT": "",
            "RIGBEAT_OF_ANOTHER_SERVICE": "ignored",
        },
    )
    assert settings.amqp_url.get_secret_value() == "amqp://a:b@c/"
    assert settings.devices == [{"device_id": "stb-1"}]
    assert (settings.log_format, settings.http_port, settings.state_dir) == ("json", 8080, Path(".rigbeat"))


def test_reads_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGBEAT_AMQP_URL", "amqp://from/the/process")
    assert load(Lab).amqp_url.get_secret_value() == "amqp://from/the/process"


def test_every_bad_value_is_said_at_once() -> None:
    said = problems({"RIGBEAT_LOG_FORMAT": "xml", "RIGBEAT_HTTP_PORT": "70000", "RIGBEAT_DEVICES": "[{"})
    assert len(said) == 4
    assert said[0] == (
        "RIGBEAT_AMQP_URL: is not set, and there is no default (wanted: amqp://user:password@host:port/)"
    )
    assert said[1].startswith("RIGBEAT_DEVICES: is not JSON (")
    assert said[1].endswith("(wanted: a JSON array)")
    assert said[2] == "RIGBEAT_HTTP_PORT: '70000': input should be less than or equal to 65535"
    assert said[3].startswith("RIGBEAT_LOG_FORMAT: 'xml': input should be 'console' or 'json' (wanted: ")


def test_a_bad_entry_of_a_list_is_named() -> None:
    said = problems({"RIGBEAT_AMQP_URL": "amqp://x/", "RIGBEAT_DEVICES": '[{"device_id": 7}]'})
    assert said == ["RIGBEAT_DEVICES[0].device_id: input should be a valid string (wanted: a JSON array)"]


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"  {SECRET}\n")
    assert load(Lab, {"RIGBEAT_AMQP_URL_FILE": str(file)}).amqp_url.get_secret_value() == SECRET


def test_both_the_variable_and_the_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(SECRET)
    said = problems({"RIGBEAT_AMQP_URL": SECRET, "RIGBEAT_AMQP_URL_FILE": str(file)})
    assert said == ["RIGBEAT_AMQP_URL: RIGBEAT_AMQP_URL_FILE is set too; set one of the two"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_said_once(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    said = problems({"RIGBEAT_AMQP_URL_FILE": str(file)})
    assert len(said) == 1
    assert said[0].startswith("RIGBEAT_AMQP_URL_FILE: ")
    assert str(file) in said[0]


def test_no_message_has_a_secret_in_it() -> None:
    said = problems({"RIGBEAT_TOKEN": SECRET[:7], "RIGBEAT_DEVICES": SECRET, "RIGBEAT_AMQP_URL": SECRET})
    assert [line.split(":")[0] for line in said] == ["RIGBEAT_DEVICES", "RIGBEAT_TOKEN"]
    assert SECRET[:7] not in "\n".join(said)
