"""All that the command line reads from the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr

from libs.chassis.peer_settings import PeerSettings
from libs.chassis.settings import PREFIX

# What programs need of a login's environment to run at all; the rest of it is none of a service's business.
_BASICS = ("PATH", "PYTHONPATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")

OBJECT_STORE = "AWS_"
"""How the variables begin that lead to an object store of the cloud."""


class Settings(PeerSettings):
    """What a person may set once instead of typing it each time."""

    home: Path = Field(default=Path(".rigbeat"), description="the folder of a system on this machine")
    api_url: str | None = Field(
        default=None, pattern=r"^https?://[^/]+", description="where the API listens, such as http://127.0.0.1:8080"
    )
    token: SecretStr | None = Field(default=None, description="an API token")
    http_port: int | None = Field(default=None, ge=1, le=65535, description="the API's port, for `rigbeat up`")
    database_url: SecretStr | None = Field(
        default=None, description="a PostgreSQL for `rigbeat up`: an owner of the database who may create roles"
    )
    amqp_url: SecretStr | None = Field(default=None, description="a RabbitMQ for `rigbeat up`")
    amqp_management_url: SecretStr | None = Field(
        default=None, description="that RabbitMQ's management, so that `rigbeat up` gives its host a user of its own"
    )
    postgres_bin: Path | None = Field(
        default=None, description="the folder with the programs of the PostgreSQL that `rigbeat up` starts, 15 or newer"
    )
    rabbitmq_root: Path | None = Field(
        default=None,
        description="a root file system with the RabbitMQ that `rigbeat up`, as root, starts: another distribution's",
    )
    scripts_dir: Path | None = Field(default=None, description="the scripts of the host that `rigbeat up` runs")
    deployments_log: Path = Field(
        default=Path("/tmp/deployments.log"),  # noqa: S108 - where people of the lab look for it
        description="the deployments log of the host that `rigbeat up` runs",
    )


def base_environment() -> dict[str, str]:
    """What children of `rigbeat up` begin with: the basics of this environment, every `RIGBEAT_` of it, every `AWS_`
    for the object store, which only the API gets to know.
    """
    here = os.environ  # noqa: TID251 - the one place of the command line that reads it
    return {name: value for name, value in here.items() if name in _BASICS or name.startswith((PREFIX, OBJECT_STORE))}
