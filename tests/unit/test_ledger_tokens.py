"""API tokens: drawn, taken apart, compared."""

from __future__ import annotations

import hashlib
import re

import pytest

from libs.ledger.tokens import ENTROPY_BYTES, make, matches, prefix_of


def test_a_token_is_prefix_and_secret_and_only_its_hash_is_kept() -> None:
    made = make(bytes(range(ENTROPY_BYTES)))
    assert re.fullmatch(r"rb_00010203_[A-Za-z0-9_-]{43}", made.token)
    assert prefix_of(made.token) == made.prefix == "00010203"
    assert made.hash == hashlib.sha256(made.token.encode()).digest()
    assert matches(made.token, made.hash)
    assert not matches(made.token[:-1] + "x", made.hash)


def test_different_bytes_make_different_tokens() -> None:
    assert make(bytes(36)).token != make(bytes(35) + b"\1").token


def test_too_few_random_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="36 random bytes"):
        make(bytes(35))


@pytest.mark.parametrize("text", ["", "rb_", "rb_00010203_short", "xx_00010203_" + "a" * 43, "rb_0001020é_" + "a" * 43])
def test_what_is_not_built_like_a_token_has_no_prefix(text: str) -> None:
    assert prefix_of(text) is None
