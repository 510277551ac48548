"""The named statements of the retention."""

from __future__ import annotations

from pathlib import Path

from libs.chassis.named_sql import NamedSql

STATEMENTS = NamedSql(Path(__file__).parent / "sql")
