"""Pages of a list: the cursor in, the cursor out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

import asyncpg

from services.api.core import page as cursors
from services.api.problems import invalid
from services.api.shapes.base import Page, Shape
from services.api.shapes.filters import Paged
from services.api.shapes.problem import FieldError

S = TypeVar("S", bound=Shape)


def after_key(name: str, filters: Paged, parts: int) -> list[str] | None:
    """The key of the last row that was read; None at the beginning. Raises `invalid-input`."""
    if filters.cursor is None:
        return None
    try:
        return cursors.decode(filters.cursor, cursors.fingerprint(name, filters.said()), parts)
    except cursors.CursorError as error:
        raise refused(str(error)) from None


def after(name: str, filters: Paged) -> UUID | None:
    """The same for a list that is ordered by id."""
    key = after_key(name, filters, 1)
    if key is None:
        return None
    try:
        return UUID(key[0])
    except ValueError:
        raise refused("This is not a cursor that a list gave") from None


def page(
    name: str,
    filters: Paged,
    records: Sequence[asyncpg.Record],
    shape: Callable[[asyncpg.Record], S],
    key: tuple[str, ...] = ("id",),
) -> Page[S]:
    """The page of `records`, which are one more than the limit if there is another page."""
    shown = records[: filters.limit]
    following = None
    if len(records) > len(shown):
        bound_to = cursors.fingerprint(name, filters.said())
        following = cursors.encode([str(shown[-1][column]) for column in key], bound_to)
    return Page(items=[shape(record) for record in shown], next=following)


def refused(message: str) -> Exception:
    """For a cursor that is none."""
    return invalid([FieldError(field="cursor", message=message, hint="Begin again without a cursor.")])
