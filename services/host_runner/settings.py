"""What a runner is told by its environment (`RIGBEAT_…`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr, StringConstraints

from libs.chassis.settings import ServiceSettings
from libs.contracts import DeviceInfo, HostName


def _own_path() -> str:
    return os.environ.get("PATH", os.defpath)  # noqa: TID251 # settings read the environment


class Settings(ServiceSettings):
    """All of it, checked at once. Durations are seconds."""

    host_name: Annotated[HostName, Field(description="lower-case letters, digits and dashes, at most 63 characters")]
    amqp_url: Annotated[SecretStr, Field(description="amqp://user:password@host:port/vhost")]
    api_url: Annotated[AnyHttpUrl, Field(description="where the API listens, such as http://127.0.0.1:8080")]
    token: Annotated[SecretStr, Field(description="the host's own token, shown once when it was enrolled")]
    scripts_dir: Annotated[Path, Field(description="the folder that holds the scripts")]
    state_dir: Annotated[Path, Field(description="a folder of this runner alone, on a disk that keeps its data")]
    deployments_log: Annotated[Path, Field(description="the file of the deployments log")] = Path(
        "/tmp/deployments.log"  # noqa: S108 # where people of the lab look for it
    )
    devices: Annotated[
        tuple[DeviceInfo, ...], Field(description='[{"device_id": "stb-1", "model": "…", "labels": {}}]')
    ] = ()
    python: Annotated[str, StringConstraints(min_length=1), Field(description="the Python that runs .py scripts")] = (
        sys.executable
    )
    script_path: Annotated[str, Field(default_factory=_own_path, description="what scripts find in PATH")]
    max_output_bytes: Annotated[
        int,
        Field(ge=1024, description="bytes of output that are kept of one execution; the rest is cut off with a mark"),
    ] = 256 << 20
    heartbeat_seconds: Annotated[float, Field(gt=0, le=25, description="pause between two heartbeats, in seconds")] = (
        10.0
    )
    watchdog_seconds: Annotated[
        float,
        Field(
            ge=1, description="a consumer that the broker gives nothing for so long, though it should, ends its process"
        ),
    ] = 60.0
    http_port: Annotated[
        int, Field(ge=0, le=65535, description="port of /livez, /readyz, /metrics; 0 takes a free one")
    ] = 8080
    max_parallel: Annotated[
        int | None, Field(ge=1, description="scripts that may run at once; as many as there are devices unless given")
    ] = None
    grace_seconds: Annotated[float, Field(ge=0, description="seconds between TERM and KILL")] = 10.0
    keep_files_seconds: Annotated[
        float, Field(ge=0, description="how long files of ended executions stay on the host, in seconds")
    ] = 7 * 86400.0

    @property
    def journal_path(self) -> Path:
        """The journal's file."""
        return self.state_dir / "journal.sqlite"

    @property
    def runs_dir(self) -> Path:
        """Where each execution has a folder of its own."""
        return self.state_dir / "runs"

    @property
    def artifacts_dir(self) -> Path:
        """Where each execution may leave files for the API."""
        return self.state_dir / "artifacts"
