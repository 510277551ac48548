"""The table of docs/access.md, from the application itself. `python -m tests.support.access_table` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from services.api.access import access
from services.api.auth import Role

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
BEGIN, END = "<!-- routes -->\n", "\n<!-- end -->"


def table() -> str:
    """One row for each route, one column for each role."""
    from libs.chassis.settings import load
    from services.api.app import create_app
    from services.api.settings import Settings

    away = {"RIGBEAT_DATABASE_URL": "postgresql://-", "RIGBEAT_INGEST_DATABASE_URL": "postgresql://-"}
    settings = load(
        Settings, {**away, "RIGBEAT_AMQP_URL": "amqp://127.0.0.1/", "RIGBEAT_ARTIFACTS_URL": "file:///nowhere"}
    )
    rows = [f"| route | {' | '.join(Role)} |", f"|---|{'---|' * len(Role)}"]
    for one in access(create_app(settings)):
        marks = ["open" if one.role is None else "yes" if one.may(role) else "" for role in Role]
        rows.append(f"| `{one.method} {one.path}` | {' | '.join(marks)} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page, with the table as the application is now."""
    page, found = re.subn(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: BEGIN + table() + END, page, flags=re.DOTALL
    )
    if found != 1:
        raise ValueError(f"{PAGE.name} has no place for the routes")
    return page


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
