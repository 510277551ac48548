"""What lies where in HOME, the folder of one system on one machine."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

_OWNER_ALONE = 0o600
_EVERYBODY_READS = 0o644


@dataclass(frozen=True)
class Home:
    """The paths; nothing is made by naming them."""

    path: Path

    @property
    def processes(self) -> Path:
        """What runs (cli/processes.py)."""
        return self.path / "processes.json"

    @property
    def token(self) -> Path:
        """An admin's API token, which the command line reads by itself."""
        return self.path / "token"

    @property
    def secrets(self) -> Path:
        """The drawn passwords."""
        return self.path / "secrets.json"

    @property
    def ports(self) -> Path:
        """The ports of the last start, taken again at the next."""
        return self.path / "ports.json"

    @property
    def lock(self) -> Path:
        """Held by the `rigbeat up` that works here; names its pid."""
        return self.path / "up.lock"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's folder."""
        return self.path / "postgres"

    @property
    def rabbitmq(self) -> Path:
        """RabbitMQ's folder."""
        return self.path / "rabbitmq"

    @property
    def artifacts(self) -> Path:
        """Logs and reports of executions."""
        return self.path / "artifacts"

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.path / "logs" / f"{name}.log"

    def host(self, name: str) -> Path:
        """The state folder of a host's runner."""
        return self.path / "hosts" / name


def write_whole(path: Path, text: str, *, secret: bool = False) -> None:
    """Write a file whole or not at all, by rename; a secret one is never readable by others, not for a moment."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    mode = _OWNER_ALONE if secret else _EVERYBODY_READS
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:  # noqa: PTH123 - needs the mode
        file.write(text)
    draft.replace(path)
