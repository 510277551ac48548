"""Which of an issuer's keys may be used, and which of them a token means."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest

from services.api.core.issuer_keys import Header, KeysError, key_for, keys_of
from tests.support.issuer import private_key, published


def rsa_of(bits: int) -> dict[str, Any]:
    """Of a modulus of so many bits that nobody can sign with."""
    modulus = ((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8, "big")
    return {"kty": "RSA", "kid": "rsa", "n": urlsafe_b64encode(modulus).decode().rstrip("="), "e": "AQAB"}


@pytest.mark.parametrize("bits", [1024, 2047, 8193])
def test_an_rsa_key_that_is_too_small_or_costs_too_much_is_passed_over(bits: int) -> None:
    with pytest.raises(KeysError):
        keys_of({"keys": [rsa_of(bits)]})
    assert [key.key_id for key in keys_of({"keys": [rsa_of(bits), rsa_of(2048)]})] == ["rsa"]


def test_a_private_key_that_was_published_is_nobodys_any_more() -> None:
    whole = jwt.get_algorithm_by_name("ES256").to_jwk(private_key("P-256"), as_dict=True)
    whole.pop("key_ops", None)
    assert "d" in whole
    with pytest.raises(KeysError):
        keys_of({"keys": [whole]})


def test_of_two_keys_that_would_do_none_is_tried() -> None:
    one, other = (published(private_key("P-256", number), kid=f"key-{number}") for number in (0, 1))
    both = keys_of({"keys": [one, other]})
    assert key_for(Header("ES256", None), both) is None
    assert key_for(Header("ES256", None), both[:1]) == both[0]
    assert key_for(Header("ES256", "key-1"), both) == both[1]
    same_name = keys_of({"keys": [one, other | {"kid": "key-0"}]})
    assert key_for(Header("ES256", "key-0"), same_name) is None
    for algorithm in ("ES384", "RS256", "EdDSA", "HS256", "none"):
        assert key_for(Header(algorithm, "key-0"), both) is None
