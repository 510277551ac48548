"""API tokens: `rb_<prefix>_<secret>`. The ledger keeps the prefix, to find the row, and the SHA-256 of the whole.

A plain hash is right here: the secret is 256 random bits, so nothing is gained by a salt or a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

PREFIX_BYTES = 4
SECRET_BYTES = 32
ENTROPY_BYTES = PREFIX_BYTES + SECRET_BYTES

_TOKEN = re.compile(r"rb_(?P<prefix>[0-9A-Za-z]{8})_(?P<secret>[0-9A-Za-z_-]{43})")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made: `token` is shown once, `prefix` and `hash` (SHA-256, 32 bytes) are kept."""

    token: str
    prefix: str
    hash: bytes


def make(entropy: bytes) -> NewToken:
    """A token from at least `ENTROPY_BYTES` random bytes of the caller. Raises `ValueError` for fewer."""
    if len(entropy) < ENTROPY_BYTES:
        raise ValueError(f"a token needs {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    prefix = entropy[:PREFIX_BYTES].hex()
    secret = urlsafe_b64encode(entropy[PREFIX_BYTES:ENTROPY_BYTES]).decode().rstrip("=")
    token = f"rb_{prefix}_{secret}"
    return NewToken(token, prefix, digest(token))


def prefix_of(token: str) -> str | None:
    """The prefix of a token; None for a text that is not built like one."""
    matched = _TOKEN.fullmatch(token)
    return matched["prefix"] if matched else None


def digest(token: str) -> bytes:
    """What the ledger keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


def matches(token: str, kept: bytes) -> bool:
    """Whether `kept` is the hash of `token`; takes the same time whatever they are."""
    return hmac.compare_digest(digest(token), kept)
