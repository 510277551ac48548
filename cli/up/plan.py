"""The programs of the system, each with its whole environment: decided from facts, started elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from cli.home import Home
from cli.settings import OBJECT_STORE
from cli.up.member import Program
from libs.chassis.settings import FILE_SUFFIX, PREFIX
from libs.stack.ports import LOOPBACK

HOST = "lab-1"
DEVICES = {"stb-1": "Virtual set-top box", "stb-2": "Virtual set-top box", "router-1": "Virtual router"}
"""Each with its model. All three are the same program."""

FLAKY = {"stb-2": "tuner:180:60"}
"""Devices that are not well: the tuner of stb-2 loses its signal for the first minute of each three."""

DOOR = "tls-api"
"""The API once more, for other machines: over TLS, on the address that was asked for."""

SCHEDULERS = ("scheduler-1", "scheduler-2")
RUNNER = f"host-runner-{HOST}"
API = "api-1"

ROOT = Path(__file__).resolve().parents[2]
"""The import root: programs start there, so that they import what this one did."""

EXAMPLE_SCRIPTS = ROOT / "examples" / "scripts"

ORDER = ("postgres", "rabbitmq", API, *SCHEDULERS, RUNNER, DOOR, *(f"settopbox-{device}" for device in DEVICES))
"""Of `HOME/processes.json`."""

# Each program is told its own of these, and never gets another's: the host's scripts need no password of the database.
_OURS = (
    *(
        "DATABASE_URL",
        "INGEST_DATABASE_URL",
        "AMQP_URL",
        "API_URL",
        "TOKEN",
        "AMQP_MANAGEMENT_URL",
        "HOME",
        "HTTP_PORT",
        "HTTP_HOST",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TRUSTED_PROXIES",
    ),
    *("POSTGRES_BIN", "RABBITMQ_ROOT"),
)
_RESERVED = frozenset(f"{PREFIX}{name}{suffix}" for name in _OURS for suffix in ("", FILE_SUFFIX))


@dataclass(frozen=True)
class Facts:
    """What has become known while the system starts. URLs hold passwords."""

    home: Home
    environment: Mapping[str, str] = field(repr=False)
    ports: Mapping[str, int]
    amqp_url: str = field(repr=False)
    amqp_management_url: str | None = field(repr=False)
    api_database_url: str = field(repr=False)
    ingest_database_url: str = field(repr=False)
    scheduler_database_url: str = field(repr=False)
    scripts_dir: Path
    deployments_log: Path

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return url(self.ports[API])

    def program(self, name: str, *arguments: str, **told: str) -> Program:
        """A Python module with the common environment and `told`, whose keys lack the prefix."""
        environment = {
            key: value
            for key, value in self.environment.items()
            if key not in _RESERVED and (name in {API, DOOR} or not key.startswith(OBJECT_STORE))
        }
        environment |= {f"{PREFIX}{key}": value for key, value in told.items()}
        return Program(
            name=name,
            command=(sys.executable, "-m", *arguments),
            environment=environment | {"PYTHONUNBUFFERED": "1"},
            log=self.home.log(name),
            cwd=ROOT,
            port=self.ports[name],
        )


def url(port: int) -> str:
    """Of a server on the loopback interface."""
    return f"http://{LOOPBACK}:{port}"


@dataclass(frozen=True)
class Door:
    """Where other machines come in, and what the API shows them: PEM files of the certificate and its key."""

    address: str
    port: int
    cert: Path
    key: Path

    @property
    def url(self) -> str:
        """For people, who write the name of the certificate where the address stands for every address."""
        return f"https://{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}"


def api(facts: Facts) -> Program:
    """The API with its ingest, for this machine."""
    return _api(facts, API)


def door(facts: Facts, door: Door) -> Program:
    """The API for other machines; its ingest stands by."""
    files = {"TLS_CERT_FILE": str(door.cert.absolute()), "TLS_KEY_FILE": str(door.key.absolute())}
    return _api(facts, DOOR, HTTP_HOST=door.address, **files)


def _api(facts: Facts, name: str, **told: str) -> Program:
    management = {"AMQP_MANAGEMENT_URL": facts.amqp_management_url} if facts.amqp_management_url else {}
    return facts.program(
        name,
        "services.api",
        DATABASE_URL=facts.api_database_url,
        INGEST_DATABASE_URL=facts.ingest_database_url,
        AMQP_URL=facts.amqp_url,
        HTTP_PORT=str(facts.ports[name]),
        ARTIFACTS_URL=facts.environment.get(f"{PREFIX}ARTIFACTS_URL") or facts.home.artifacts.absolute().as_uri(),
        **management,
        **told,
    )


def schedulers(facts: Facts) -> list[Program]:
    """All alike."""
    return [
        facts.program(
            name,
            "services.scheduler",
            DATABASE_URL=facts.scheduler_database_url,
            AMQP_URL=facts.amqp_url,
            HTTP_PORT=str(facts.ports[name]),
        )
        for name in SCHEDULERS
    ]


def runner(facts: Facts, secret: str | None) -> Program:
    """The host's runner, with a box for each of its devices; `secret` when it has no credentials yet.

    It is told where the broker is, since a port may change; our own user only if it cannot have one of its own.
    """
    parts = urlsplit(facts.amqp_url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    told = {"ENROLMENT_SECRET": secret} if secret else {}
    return facts.program(
        RUNNER,
        "services.host_runner",
        HOST_NAME=HOST,
        AMQP_URL=address if facts.amqp_management_url else facts.amqp_url,
        API_URL=facts.api_url,
        **told,
        DEVICES=json.dumps(devices(facts.ports)),
        SCRIPTS_DIR=str(facts.scripts_dir.absolute()),
        STATE_DIR=str(facts.home.host(HOST).absolute()),
        DEPLOYMENTS_LOG=str(facts.deployments_log.absolute()),
        HTTP_PORT=str(facts.ports[RUNNER]),
    )


def devices(ports: Mapping[str, int]) -> list[dict[str, object]]:
    """As `RIGBEAT_DEVICES` has them."""
    return [
        {"device_id": device, "model": model, "labels": {"address": url(ports[f"settopbox-{device}"])}}
        for device, model in DEVICES.items()
    ]


def boxes(facts: Facts) -> list[Program]:
    """The virtual devices."""
    return [
        facts.program(
            f"settopbox-{device}",
            "examples.settopbox",
            *("--port", str(facts.ports[f"settopbox-{device}"]), "--name", device),
            *(("--flaky", FLAKY[device]) if device in FLAKY else ()),
        )
        for device in DEVICES
    ]
