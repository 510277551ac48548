"""The public keys of an issuer, as it publishes them (RFC 7517), and which of them a token says it was signed with.

A key is bound to its kind of algorithm here, whatever a token says: what was made with a public key as if it were a
shared secret, or with `none`, finds no key. Where a token names places to get a key from (`jku`, `x5u`, `jwk`, `x5c`),
nobody looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones alone."""

LEAST_RSA_BITS = 2048
MOST_RSA_BITS = 8192
"""What a token costs us to look at grows with it."""

_OF_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA",)}
_OF_RSA = tuple(name for name in ALGORITHMS if name[:2] in {"RS", "PS"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST_TOKEN = 16_384
_MOST_KEYS = 100


class KeysError(Exception):
    """What the issuer published holds no key that may be used."""


class TokenError(Exception):
    """The token is not one that may be looked at further; the sentence is for people."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of its signature, before that is believed."""

    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the algorithms that it may be used with."""

    key_id: str | None
    algorithms: tuple[str, ...]
    published: Mapping[str, Any]

    def claims(self, token: str, algorithm: str, issuer: str, audience: str) -> dict[str, Any]:
        """The claims of a token that this key signed, for us. Its times are not looked at. Raises `TokenError`."""
        options: Any = {
            "require": ["exp", "iat", "sub", "iss", "aud"],
            "enforce_minimum_key_length": True,
            # By the ledger's clock (core/claims.py).
            **dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf"), False),
        }
        key = jwt.PyJWK(dict(self.published), algorithm)
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[algorithm], issuer=issuer, audience=audience, options=options
            )
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"The token lacks {error.claim}") from None
        except jwt.InvalidIssuerError:
            raise TokenError("The token is of another issuer") from None
        except jwt.InvalidAudienceError:
            raise TokenError("The token is meant for somebody else (aud)") from None
        except jwt.PyJWTError:
            raise TokenError("The token's signature is not right") from None
        if "cnf" in claims:
            raise TokenError("The token is bound to a key of its holder, which is not looked at here")
        return claims


def looks_like_one(token: str) -> bool:
    """Whether this is built like a signed JWT of a sane length."""
    return len(token) <= _LONGEST_TOKEN and _TOKEN.fullmatch(token) is not None


def header_of(token: str) -> Header:
    """What it says of its signature. Raises `TokenError` for what is never looked at."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise TokenError("This is not a token") from None
    if "crit" in header or "b64" in header:
        raise TokenError("The token asks for an extension that is not known here (crit)")
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise TokenError("The token is not signed with an algorithm that is taken here")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenError("The token is of another kind than those that let people in (typ)")
    key_id = header.get("kid")
    return Header(algorithm, key_id if isinstance(key_id, str) else None)


def keys_of(document: Any) -> tuple[Key, ...]:
    """The keys that may be used; those of other kinds are passed over. Raises `KeysError` when none is left."""
    published = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(published, list):
        raise KeysError("it is not a set of keys")
    found = tuple(key for each in published[:_MOST_KEYS] if (key := _key(each)) is not None)
    if not found:
        raise KeysError("none of its keys may be used here")
    return found


def key_for(header: Header, keys: Iterable[Key]) -> Key | None:
    """The one key that the token names and its algorithm fits; without a name, the only one that fits.

    None as well when two would do: nobody tries which.
    """
    fitting = [key for key in keys if header.algorithm in key.algorithms and header.key_id in {None, key.key_id}]
    return fitting[0] if len(fitting) == 1 else None


def _key(published: Any) -> Key | None:
    if not isinstance(published, dict) or "d" in published or "k" in published:
        return None
    operations = published.get("key_ops", ["verify"])
    if published.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    fits = _OF_RSA if published.get("kty") == "RSA" else _OF_CURVES.get(str(published.get("crv")), ())
    if "alg" in published:
        fits = tuple(name for name in fits if name == published["alg"])
    if not fits:
        return None
    try:
        made = jwt.PyJWK(published, fits[0]).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if published["kty"] == "RSA" and not LEAST_RSA_BITS <= made.key_size <= MOST_RSA_BITS:
        return None
    key_id = published.get("kid")
    return Key(key_id if isinstance(key_id, str) else None, fits, published)
