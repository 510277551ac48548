"""The tables of docs/configuration.md, from the settings classes.

`python -m tests.support.settings_table` writes them.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from libs.chassis.settings import PREFIX, ServiceSettings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
# Defaults that differ from machine to machine, in words.
COMPUTED = {
    "RIGBEAT_PYTHON": "the runner's own Python",
    "RIGBEAT_SCRIPT_PATH": "the runner's own `PATH`",
    "RIGBEAT_SCRIPT_ENVIRONMENT": "none",
}


def programs() -> dict[str, type[ServiceSettings]]:
    """The settings class of each program, by the marker in the page."""
    from cli.settings import Settings as Cli
    from services.api.settings import Settings as Api
    from services.host_runner.settings import Settings as HostRunner
    from services.scheduler.settings import Settings as Scheduler

    return {"api": Api, "scheduler": Scheduler, "host-runner": HostRunner, "cli": Cli}


def table(settings: type[ServiceSettings]) -> str:
    """One row for each setting, needed ones first, then by name."""
    fields = sorted(settings.model_fields.items(), key=lambda item: (not item[1].is_required(), item[0]))
    rows = [_row(f"{PREFIX}{name.upper()}", field) for name, field in fields]
    return "\n".join(["| variable | default | what |", "|---|---|---|", *rows])


def _row(variable: str, field: FieldInfo) -> str:
    if not field.description:
        raise ValueError(f"{variable} has no description")
    words = field.description.replace("|", "\\|")
    secret = " (secret)" if "SecretStr" in str(field.annotation) or field.annotation is SecretStr else ""
    return f"| `{variable}` | {_default(variable, field)} | {words}{secret} |"


def _default(variable: str, field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if variable in COMPUTED:
        return COMPUTED[variable]
    value = field.get_default()
    if value is None or value == ():
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def with_tables(page: str) -> str:
    """The page, with each table between its markers as the settings are now."""
    for name, settings in programs().items():
        begin, end = f"<!-- settings: {name} -->\n", "\n<!-- end -->"
        page, found = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}",
            lambda _, settings=settings, begin=begin, end=end: f"{begin}{table(settings)}{end}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"{PAGE.name} has no place for the settings of {name}")
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
