"""A body that is not JSON is refused also where no route reads it: unlock, cancel, requeue take none."""

from __future__ import annotations

import pytest
from fastapi import Request
from starlette.types import Message

from services.api.problems import ProblemError
from services.api.shapes.problem import Kind
from services.api.strict_json import unambiguous

NOT_JSON = {
    "broken off": b"{",
    "blank": b" ",
    "too deep": b"[" * 100_000,
    "no UTF-8": b'{"reason": "\xff"}',
    "a number of 5000 digits": b'{"reason": ' + b"9" * 5000 + b"}",
    "NaN": b'{"reason": NaN}',
}


def request(body: bytes, kind: bytes = b"application/json") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind)]}, receive)


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        await unambiguous(request(body))
    assert (refused.value.kind, refused.value.status) == (Kind.MALFORMED, 400)


async def test_what_is_said_once_passes_and_what_is_no_json_is_not_looked_at() -> None:
    await unambiguous(request(b'{"reason": "moved"}'))
    await unambiguous(request(b""))
    await unambiguous(request(b"{", b"text/plain"))
    with pytest.raises(ProblemError, match="given twice"):
        await unambiguous(request(b'{"reason": "a", "reason": "b"}'))
