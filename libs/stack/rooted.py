"""RabbitMQ out of a root file system of its own: another distribution's, with that one's C library and Erlang.

For a version that this machine's distribution does not have. The node is started by `chroot` in a mount namespace of
its own, where its folder is seen as `/node`; nothing of it is mounted for anybody else, and no process stands between:
the pid and the death signal are Erlang's, as they are without a root. It shares the machine's network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.installation import PATH, Installation, whole

NODE = Path("/node")
"""Where in the root a node sees its folder; the root must have this folder, empty."""
_TOOLS = ("unshare", "mount", "chroot")
# $1: the root, $2: the node's folder, then the program. Every step becomes the next one, so the pid stays.
_ENTER = f"""
set -e
for each in proc dev sys; do mount --rbind "/$each" "$1/$each"; done
mount --bind "$2" "$1{NODE}"
root=$1
shift 2
exec chroot "$root" "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Rooted(Installation):
    """A RabbitMQ inside `root`; its paths are those from outside."""

    root: Path

    def environment(self) -> dict[str, str]:
        """What its programs need to find each other, seen from inside."""
        return super().environment() | {"PATH": f"{self._inside(self.erlang)}:{PATH}"}

    def sees(self, folder: Path) -> Path:
        """Always `/node`, whatever the folder."""
        return NODE

    def command(self, folder: Path, words: Sequence[str | Path]) -> list[str | Path]:
        """How to run one of its programs beside the node's folder."""
        told = [self._inside(word) if isinstance(word, Path) else word for word in words]
        return [_tool("unshare"), "--mount", "/bin/sh", "-c", _ENTER, "sh", self.root, folder, *told]

    def _inside(self, path: Path) -> Path:
        return Path("/") / path.relative_to(self.root) if path.is_relative_to(self.root) else path


def find_rooted(root: Path) -> Rooted:
    """The RabbitMQ in this root file system. StackError when it has none, or when it cannot be entered from here."""
    if os.geteuid() != 0:
        raise StackError(f"Only root can start the RabbitMQ in {root}: it is entered by chroot.")
    for name in _TOOLS:
        _tool(name)
    found = whole(
        root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"), root.glob("usr/lib/erlang/bin/erl")
    )
    if found is None or not (root / NODE.relative_to("/")).is_dir():
        raise StackError(f"{root} holds no RabbitMQ with Erlang and an empty folder {NODE}; name another root.")
    return Rooted(found.server, found.erlang, found.epmd, root=root)


def _tool(name: str) -> str:
    path = shutil.which(name, path=PATH)
    if path is None:
        raise StackError(f"There is no {name} on this machine, by which a root file system is entered.")
    return path
