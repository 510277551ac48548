"""Bytes of a log as text that can be cut anywhere and resumed."""

from __future__ import annotations

import codecs


def whole_text(content: bytes, *, final: bool) -> tuple[str, int]:
    """The text of `content` and how many of its bytes that is: a character that is not complete yet is left.

    Invalid bytes become U+FFFD. `final` says that nothing follows: then nothing is left.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(content, final)
    return text, len(content) - len(decoder.getstate()[0])
