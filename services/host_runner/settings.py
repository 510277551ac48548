"""What a runner is told by its environment (`RIGBEAT_…`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, StringConstraints

from libs.chassis.peer_settings import PeerSettings
from libs.contracts import DeviceInfo, HostName


def _own_path() -> str:
    return os.environ.get("PATH", os.defpath)  # noqa: TID251 # settings read the environment


def _is_free(name: str) -> str:
    if not name or "=" in name or "\0" in name or name.startswith("RIGBEAT_"):
        raise ValueError("the name of a variable is not empty, holds no = and does not start with RIGBEAT_")
    return name


def _holds_no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("no variable can hold a NUL character")
    return value


class Settings(PeerSettings):
    """All of it, checked at once. Durations are seconds."""

    host_name: Annotated[HostName, Field(description="lower-case letters, digits and dashes, at most 63 characters")]
    api_url: Annotated[AnyHttpUrl, Field(description="where the API listens, such as http://127.0.0.1:8080")]
    enrolment_secret: Annotated[
        SecretStr | None,
        Field(description="shown once when the host was enrolled; exchanged for what the state directory then holds"),
    ] = None
    amqp_url: Annotated[
        SecretStr | None,
        Field(description="amqp(s)://host:port/vhost if that is not where the API says; with a user beside `token`"),
    ] = None
    token: Annotated[
        SecretStr | None, Field(description="of the API, for a host whose credentials are given and renewed by others")
    ] = None
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
    script_environment: Annotated[
        dict[Annotated[str, AfterValidator(_is_free)], Annotated[str, AfterValidator(_holds_no_nul)]],
        Field(
            default_factory=dict,
            description='{"HOME": "/srv/lab"}: what scripts find in their environment besides, or instead',
        ),
    ]
    script_user: Annotated[
        str | None,
        Field(description="name or number of the user that scripts run as, not root; unless given, the runner's own"),
    ] = None
    script_may_gain_rights: Annotated[bool, Field(description="whether sudo, ping and the like work for that user")] = (
        False
    )
    script_work_dir: Annotated[
        Path | None,
        Field(description="where each run gets a working folder of its own; `work` in the state folder unless given"),
    ] = None
    script_cgroup: Annotated[
        Path | None, Field(description="a cgroup (version 2) for scripts alone; in it, limits are of a run as a whole")
    ] = None
    script_memory_bytes: Annotated[
        int | None,
        Field(ge=16 << 20, description="memory of a run, in bytes; without a cgroup, of each of its processes"),
    ] = None
    script_processes: Annotated[
        int | None,
        Field(ge=1, description="processes and threads of a run; without a cgroup, of all runs of the user together"),
    ] = None
    script_file_bytes: Annotated[
        int | None, Field(ge=1024, description="bytes that a file may have to which a script writes")
    ] = None
    script_open_files: Annotated[
        int | None, Field(ge=16, description="files that each process of a script may have open at once")
    ] = None
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
    http_host: Annotated[
        str, Field(description="the address on which /livez, /readyz, /metrics are served, without TLS or token")
    ] = "127.0.0.1"
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
    def work_dir(self) -> Path:
        """Where each execution has a folder to work in while it runs."""
        return self.script_work_dir or self.state_dir / "work"

    @property
    def artifacts_dir(self) -> Path:
        """Where each execution may leave files for the API."""
        return self.state_dir / "artifacts"
