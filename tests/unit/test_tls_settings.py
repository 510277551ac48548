"""What programs are told of TLS, held to the rules at their start; what is served, and who came through a proxy."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner

from cli.app import app
from cli.errors import ExitCode
from cli.settings import Settings as CliSettings
from libs.chassis.settings import ServiceSettings, SettingsError, load
from services.api.certificate import Certificate
from services.api.ingest.settings import Settings as IngestSettings
from services.api.settings import Settings as ApiSettings
from services.api.strict_transport import StrictTransport
from services.api.web import serving
from services.host_runner.keys import Keys, KeysError, Pair
from services.host_runner.settings import Settings as RunnerSettings
from services.scheduler.settings import Settings as SchedulerSettings
from tests.support.tls import Authority
from tests.support.wait import until_async

API = {
    "RIGBEAT_DATABASE_URL": "postgresql://api:hunter2@db.lab/rigbeat",
    "RIGBEAT_INGEST_DATABASE_URL": "postgresql://ingest:hunter2@db.lab/rigbeat",
    "RIGBEAT_AMQP_URL": "amqps://rigbeat:hunter2@broker.lab/",
}
RUNNER = {
    "RIGBEAT_HOST_NAME": "lab-1",
    "RIGBEAT_API_URL": "https://api.lab",
    "RIGBEAT_SCRIPTS_DIR": "/srv",
    "RIGBEAT_STATE_DIR": "/srv",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("ca"))


def problems(cls: type[ServiceSettings], environment: Mapping[str, str]) -> list[str]:
    try:
        load(cls, environment)
    except SettingsError as error:
        found = list(error.problems)
    else:
        found = []
    assert not [each for each in found if "hunter2" in each]
    return found


REFUSED = [
    (ApiSettings, API, "AMQP_URL", "amqp://u:hunter2@broker.lab/", "amqp:// to broker.lab"),
    (ApiSettings, API, "AMQP_MANAGEMENT_URL", "http://u:hunter2@broker.lab", "http:// to broker.lab"),
    (ApiSettings, API, "HOSTS_AMQP_URL", "amqp://broker.lab", "amqp:// to broker.lab"),
    (ApiSettings, API, "DATABASE_URL", f"{API['RIGBEAT_DATABASE_URL']}?sslmode=require", "sslmode=require"),
    (ApiSettings, API, "HTTP_HOST", "0.0.0.0", "tokens would cross the network"),
    (IngestSettings, API, "INGEST_DATABASE_URL", "postgresql://u@db.lab/d?sslmode=disable", "sslmode=disable"),
    (SchedulerSettings, API, "AMQP_URL", "amqp://u:hunter2@broker.lab/", "amqp:// to broker.lab"),
    (RunnerSettings, RUNNER, "API_URL", "http://api.lab", "http:// to api.lab"),
    (RunnerSettings, RUNNER, "AMQP_URL", "amqp://broker.lab", "amqp:// to broker.lab"),
    (CliSettings, {}, "API_URL", "http://api.lab:8080", "http:// to api.lab"),
]


@pytest.mark.parametrize(("cls", "basis", "name", "value", "sentence"), REFUSED)
def test_the_clear_is_refused_at_the_start(
    cls: type[ServiceSettings], basis: dict[str, str], name: str, value: str, sentence: str
) -> None:
    assert problems(cls, basis) == []
    changed = {f"RIGBEAT_{name}": value}
    [problem] = problems(cls, basis | changed)
    assert problem.startswith(f"RIGBEAT_{name}: {sentence}")
    assert problems(cls, basis | changed | {"RIGBEAT_PLAINTEXT": "allowed"}) == []


def test_the_certificate_files_are_looked_at_before_anything_is_served(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue(into="one"), authority.issue(into="other")
    everywhere = API | {"RIGBEAT_HTTP_HOST": "0.0.0.0"}
    both = {"RIGBEAT_TLS_CERT_FILE": str(one.cert), "RIGBEAT_TLS_KEY_FILE": str(one.key)}
    assert problems(ApiSettings, everywhere | both) == []
    [alone, _] = problems(ApiSettings, everywhere | {"RIGBEAT_TLS_KEY_FILE": str(one.key)})
    assert "go together" in alone
    [mixed] = problems(ApiSettings, everywhere | both | {"RIGBEAT_TLS_KEY_FILE": str(other.key)})
    assert "are not a certificate and its key" in mixed
    assert "KEY_VALUES_MISMATCH" in mixed
    [missing] = problems(ApiSettings, everywhere | both | {"RIGBEAT_TLS_KEY_FILE": f"{tmp_path}/none"})
    assert "No such file" in missing


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), ("", "holds no certificate"), ("x", "holds no c")]
)
def test_who_is_trusted_is_looked_at_at_the_start(content: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    [problem] = problems(RunnerSettings, RUNNER | {"RIGBEAT_CA_FILE": str(file)})
    assert problem.startswith("RIGBEAT_CA_FILE: ")
    assert words in problem


def test_a_runner_does_not_take_a_broker_in_the_clear_from_the_api(tmp_path: Path) -> None:
    keys = Keys(tmp_path, None, None, load(RunnerSettings, RUNNER))
    for bad in ("amqp://u:hunter2@broker.lab/", "amqps://u:hunter2@broker.lab/?no_verify_ssl=1"):
        with pytest.raises(KeysError, match=r"the broker's url, from the API"):
            keys.take("rb_token", bad)
    assert not (tmp_path / "credentials.json").exists()
    keys.take("rb_token", "amqps://u:hunter2@broker.lab/")
    with pytest.raises(KeysError, match="in the clear"):
        Keys(tmp_path, None, "amqp://broker.lab", load(RunnerSettings, RUNNER))
    with pytest.raises(KeysError, match="in the clear"):
        Keys(tmp_path, Pair("rb_token", "amqp://u:hunter2@broker.lab/"), None)


def test_a_runner_trusts_the_file_of_its_settings_at_the_broker_too(authority: Authority, tmp_path: Path) -> None:
    settings = load(RunnerSettings, RUNNER | {"RIGBEAT_CA_FILE": str(authority.file)})
    keys = Keys(tmp_path, Pair("rb_token", "amqps://u:p@broker.lab/"), None, settings)
    assert keys.amqp_url == f"amqps://u:p@broker.lab/?cafile={authority.file}"


def test_half_a_new_pair_changes_nothing(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    files = authority.issue(into="renewed")
    certificate = Certificate(files.cert, files.key)
    before = _shown(certificate, authority)
    certificate.renew()
    assert _shown(certificate, authority) == before

    new = authority.issue(into="next")
    files.cert.write_bytes(new.cert.read_bytes())
    certificate.renew()
    assert _shown(certificate, authority) == before, "its key is not there yet"
    files.key.unlink()
    certificate.renew()
    assert _shown(certificate, authority) == before
    files.key.write_bytes(new.key.read_bytes())
    certificate.renew()
    assert _shown(certificate, authority) == _shown(Certificate(new.cert, new.key), authority) != before


def _shown(certificate: Certificate, authority: Authority) -> object:
    """The serial number that a client of this context sees."""
    into_client, into_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=authority.file).wrap_bio(
        into_client, into_server, server_hostname="localhost"
    )
    server = certificate.context.wrap_bio(into_server, into_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return (client.getpeercert() or {})["serialNumber"]


async def _client_of(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        body = json.dumps({"client": scope["client"][0], "scheme": scope["scheme"]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("proxies", "seen", "scheme"),
    [
        ("[]", "127.0.0.1", "http"),
        ('["10.0.0.7"]', "127.0.0.1", "http"),
        ('["127.0.0.1"]', "203.0.113.9", "https"),
        ('["127.0.0.0/8", "10.0.0.7"]', "198.51.100.1", "https"),
    ],
)
async def test_only_a_proxy_that_was_named_says_where_a_request_came_from(
    proxies: str, seen: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # another program's word
    settings = load(ApiSettings, API | {"RIGBEAT_TRUSTED_PROXIES": proxies})
    server = uvicorn.Server(serving(settings, StrictTransport(_client_of), None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))

        async def started() -> bool:
            return server.started

        await until_async(started, within=5)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        forged = "198.51.100.1" if "/8" in proxies else "198.51.100.1, 203.0.113.9"
        headers = {
            "X-Forwarded-For": f"{forged}{', 10.0.0.7' if '/8' in proxies else ''}",
            "X-Forwarded-Proto": "https",
        }
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(url, headers=headers)
        server.should_exit = True
        await task
    assert answer.json() == {"client": seen, "scheme": scheme}
    assert ("strict-transport-security" in answer.headers) is (scheme == "https")


def test_the_command_line_sends_no_token_in_the_clear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RIGBEAT_TOKEN", "rb_hunter2")
    monkeypatch.setenv("RIGBEAT_HOME", str(tmp_path))
    ended = CliRunner().invoke(app, ["hosts", "list", "--api-url", "http://api.lab:8080"])
    assert ended.exit_code == ExitCode.USAGE
    assert "The API's url: http:// to api.lab would send passwords and tokens" in ended.output
