"""What a host may do at the broker: its user, its permissions, its password as the broker keeps it. Pure.

RabbitMQ's access control knows three rights on names (configure, write, read, each a regular expression) and, on topic
exchanges, one on routing keys. A host declares nothing, reads its own three queues and writes its own keys.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass

from libs.contracts.topology import LOGS, RESULTS, commands_queue, presence_queue, triggers_queue

NOTHING = "^$"
SALT_BYTES = 4
HASHING = "rabbit_password_hashing_sha256"

_PREFIX = "host."


@dataclass(frozen=True, slots=True)
class Permissions:
    """Of a user in one virtual host; `topics`: the routing keys that it may write, by exchange."""

    configure: str
    write: str
    read: str
    topics: dict[str, str]


def user_of(host: str) -> str:
    """The broker's user of a host; no person's user begins like it."""
    return f"{_PREFIX}{host}"


def host_of(user: str) -> str | None:
    """The host whose user this is; None for any other."""
    return user.removeprefix(_PREFIX) if user.startswith(_PREFIX) else None


def permissions_of(host: str) -> Permissions:
    """All that a host may."""
    own = "|".join(re.escape(queue) for queue in (triggers_queue(host), commands_queue(host), presence_queue(host)))
    keys = rf"^{re.escape(host)}\.[^.]+$"
    return Permissions(
        configure=NOTHING,
        write=f"^({re.escape(RESULTS)}|{re.escape(LOGS)})$",
        read=f"^({own})$",
        topics={RESULTS: keys, LOGS: keys},
    )


def password_hash(password: str, salt: bytes) -> str:
    """As RabbitMQ keeps it: base64 of the salt (4 bytes) and the SHA-256 of salt and password."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
