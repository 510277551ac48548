"""A RabbitMQ in a root file system: what is run, and what it is told, seen from inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libs.stack.errors import StackError
from libs.stack.installation import PATH
from libs.stack.rooted import Rooted, find_rooted

SERVER = "usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5/sbin/rabbitmq-server"
ERLANG = "usr/lib/erlang/bin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What is looked for, in a root that has nothing else."""
    made = tmp_path / "root"
    for name in (SERVER, SERVER.replace("rabbitmq-server", "rabbitmq-env"), f"{ERLANG}/erl", f"{ERLANG}/epmd"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).touch()
    (made / "node").mkdir()
    return made


def rooted(root: Path) -> Rooted:
    return Rooted(root / SERVER, root / ERLANG, root / ERLANG / "epmd", root=root)


def test_paths_in_the_root_are_told_as_they_are_seen_from_inside(root: Path) -> None:
    command = rooted(root).command(Path("/the/folder"), [root / SERVER, "-flag", Path("/etc/hosts")])
    assert command[1:4] == ["--mount", "/bin/sh", "-c"]
    assert command[5:] == ["sh", root, Path("/the/folder"), Path("/", SERVER), "-flag", Path("/etc/hosts")]
    assert rooted(root).sees(Path("/the/folder")) == Path("/node")
    assert rooted(root).environment()["PATH"] == f"/{ERLANG}:{PATH}"
    assert rooted(root).version == "4.0.5"


@pytest.mark.root
def test_a_root_is_found_by_what_it_holds(root: Path) -> None:
    assert find_rooted(root) == rooted(root)


@pytest.mark.root
@pytest.mark.parametrize("missing", [SERVER, f"{ERLANG}/epmd", "node"])
def test_a_root_that_lacks_something_is_refused(root: Path, missing: str) -> None:
    lost = root / missing
    lost.rmdir() if lost.is_dir() else lost.unlink()
    with pytest.raises(StackError, match=f"{root} holds no RabbitMQ with Erlang and an empty folder /node"):
        find_rooted(root)


def test_who_is_not_root_is_told_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(StackError, match=r"Only root can start the RabbitMQ in .*: it is entered by chroot"):
        find_rooted(root)
