"""Bodies that say two things at once, or what JSON cannot say: refused before anything is made of them.

The framework's reader takes the last of two equal keys, and `NaN`. A person who wrote a key twice meant one of the two.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from fastapi import Request

from services.api.problems import ProblemError, invalid
from services.api.shapes.problem import FieldError, Kind

_METHODS = frozenset({"POST", "PATCH"})  # what hosts PUT are files, not ours to read


async def unambiguous(request: Request) -> None:
    """Raises `invalid-input` for a key that is given twice, `malformed` for what is not JSON, read or not."""
    if request.method in _METHODS:
        await _check(request)


async def unambiguous_also_put(request: Request) -> None:
    """The same, where what is PUT is no file either."""
    if request.method in _METHODS | {"PUT"}:
        await _check(request)


async def _check(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind == "application/json" or kind.endswith("+json")):
        return
    body = await request.body()
    if body:
        try:
            json.loads(body, object_pairs_hook=_each_once, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            # Where a route takes a body, the framework has read it before its dependencies and says where it broke off.
            raise ProblemError(Kind.MALFORMED, f"The body is not JSON: {error}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in pairs:
        if key in read:
            raise invalid([FieldError(field=key, message="It is given twice", hint="Give it once.")])
        read[key] = value
    return read


def _no_number(text: str) -> NoReturn:
    raise ProblemError(Kind.MALFORMED, f"The body is not JSON: {text} is no number there")
