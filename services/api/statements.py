"""The named statements of the HTTP half of the API."""

from __future__ import annotations

from pathlib import Path

from libs.chassis.named_sql import NamedSql

SQL = NamedSql(Path(__file__).parent / "sql")
