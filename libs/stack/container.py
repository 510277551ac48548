"""RabbitMQ in a container, where a Docker engine answers: the last way to one.

The container has the machine's own network and the node's own folder, so that all of its files, ports and addresses are
those of a node without a container. The engine's program stays in the foreground: its end is the container's, by a
SIGTERM that it hands on. A container that outlived a killed program is removed before the next start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.process import run

IMAGE = "docker.io/library/rabbitmq:3-management"
_PROGRAMS = ("docker", "podman")
_ANSWER_SECONDS = 15.0
_PULL_SECONDS = 600.0
# The real script of the server, in the official image or in Debian's: wrappers would change the user.
_SERVER = """
for folder in /opt/rabbitmq/sbin /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin; do
  if [ -x "$folder/rabbitmq-server" ]; then exec "$folder/rabbitmq-server"; fi
done
echo "there is no rabbitmq-server in this image"; exit 1
"""
_OF_THE_MACHINE = frozenset({"PATH", "LD_LIBRARY_PATH"})


@dataclass(frozen=True)
class Engine:
    """A program whose container engine answers, and has the image."""

    program: Path

    @property
    def version(self) -> str:
        """What people are told."""
        return f"({IMAGE} in a container)"

    def command(self, name: str, folder: Path, environment: Mapping[str, str]) -> list[str | Path]:
        """How to run a node in the foreground. Its secrets are in files of the folder, not among these words."""
        told = {key: value for key, value in environment.items() if key not in _OF_THE_MACHINE}
        return [
            self.program,
            *("run", "--rm", "--name", name, "--network", "host", "--log-driver", "none"),
            *("--user", f"{os.geteuid()}:{os.getegid()}"),
            *("--volume", f"{folder}:{folder}", "--workdir", str(folder)),
            *(part for key, value in told.items() for part in ("--env", f"{key}={value}")),
            *("--entrypoint", "/bin/sh", IMAGE, "-c", _SERVER),
        ]

    def remove(self, name: str) -> None:
        """What is left of a former container of this name. Boring when nothing is."""
        run([self.program, "rm", "--force", "--volumes", name], within=_ANSWER_SECONDS)


def name_of(folder: Path) -> str:
    """The container's name: one for each folder."""
    return f"rigbeat-rabbitmq-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def find_engine() -> Engine | None:
    """The first engine that answers and has the image, or can get it; None when there is none. May take minutes."""
    for name in _PROGRAMS:
        program = shutil.which(name)
        if program is not None and _answers(program) and _has_image(program):
            return Engine(Path(program))
    return None


def _answers(program: str) -> bool:
    try:
        return run([program, "info"], within=_ANSWER_SECONDS).code == 0
    except StackError:
        return False


def _has_image(program: str) -> bool:
    if run([program, "image", "inspect", IMAGE], within=_ANSWER_SECONDS).code == 0:
        return True
    try:
        return run([program, "pull", IMAGE], within=_PULL_SECONDS).code == 0
    except StackError:
        return False
