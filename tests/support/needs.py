"""Tests whose need is absent: deselected, printed as `NOT RUN: …` at the end, and a failure in CI.

A skip is easily overlooked; this is not. `CI=true` (as `.ci/run` sets) turns the print into exit status 1.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from libs.stack.process import run
from services.host_runner.confinement import missing_capabilities
from tests.support.debian import postgres_with_tls

_ANSWER_SECONDS = 5.0
_USUAL_PLACE = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Need:
    """A marker, what it asks for in words, and whether that is there."""

    marker: str
    words: str
    met: Callable[[], bool]


def container_engine_answers() -> bool:
    """Whether Docker's API answers a ping on DOCKER_HOST (unix:// or tcp://), or where it is unless that is set."""
    target = urlsplit(os.environ.get("DOCKER_HOST") or _USUAL_PLACE)  # noqa: TID251 - the need itself
    try:
        with _connected(target.scheme, target.path, target.hostname, target.port) as connection:
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _connected(scheme: str, path: str, host: str | None, port: int | None) -> socket.socket:
    match scheme:
        case "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(path)
            except OSError:
                connection.close()
                raise
            return connection
        case "tcp" if host and port:
            return socket.create_connection((host, port), timeout=_ANSWER_SECONDS)
        case _:
            raise ConnectionRefusedError(f"DOCKER_HOST names no container engine ({scheme or 'no scheme'})")


def may_mount() -> bool:
    """Whether a file system can be mounted where nobody else sees it."""
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if os.geteuid() != 0 or unshare is None or mount is None:
        return False
    command = [unshare, "--mount", mount, "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    return run(command, within=_ANSWER_SECONDS).code == 0


def may_become_another() -> bool:
    """Whether a runner here may run scripts as another user: in a container it often lacks CAP_SYS_PTRACE."""
    may = not missing_capabilities(Path("/proc/self/status").read_text(encoding="utf-8"))
    return os.geteuid() == 0 and may and shutil.which("setpriv") is not None


NEEDS = (
    Need("another_user", "root with all capabilities of a runner for scripts of another user", may_become_another),
    Need(
        "containers", "a container engine that answers on DOCKER_HOST or /var/run/docker.sock", container_engine_answers
    ),
    Need("curl", "curl, as the docs' examples use it", lambda: shutil.which("curl") is not None),
    Need("mounts", "root who may mount a small disk in a namespace of its own", may_mount),
    Need(
        "postgres_tls",
        "a PostgreSQL built with TLS: Debian 12's, installed or had by root's apt-get",
        postgres_with_tls,
    ),
    Need("root", "root, who alone can make a file another's", lambda: os.geteuid() == 0),
)
_not_run: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    for need in NEEDS:
        config.addinivalue_line("markers", f"{need.marker}: needs {need.words}")


@pytest.hookimpl(trylast=True)  # what -k and -m have left out is not missing
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = config.stash.setdefault(_not_run, [])
    for need in NEEDS:
        asking = [item for item in items if item.get_closest_marker(need.marker)]
        if not asking or need.met():
            continue
        config.hook.pytest_deselected(items=asking)
        items[:] = [item for item in items if item not in asking]
        missing += [f"{item.nodeid} (needs {need.words})" for item in asking]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_not_run, []):
        terminalreporter.write_line(f"NOT RUN: {line}", yellow=True, bold=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    in_ci = os.environ.get("CI") == "true"  # noqa: TID251 - how every CI says what it is
    quiet = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if session.config.stash.get(_not_run, []) and in_ci and exitstatus in quiet:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
