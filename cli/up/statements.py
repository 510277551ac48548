"""The named statements of `rigbeat up` (`cli/up/sql`), as psycopg takes them."""

from __future__ import annotations

from pathlib import Path

from libs.chassis.named_sql import NamedSql

_SQL = NamedSql(Path(__file__).parent / "sql")


def statement(name: str) -> bytes:
    """The statement of this name; `KeyError` when there is none."""
    return _SQL[name].encode()
