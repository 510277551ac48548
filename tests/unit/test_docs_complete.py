"""The docs leave nothing out: every setting, every command of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.support import access_table
from tests.support.doc_examples import examples
from tests.support.settings_table import PAGE, programs, table, with_tables
from tests.unit.test_docs import PAGES

# What the examples are run against, and what stops all firing until an operator has looked.
NOT_AS_AN_EXAMPLE = {"up", "recover"}
TEXT = "\n".join(page.read_text() for page in PAGES if page.name != "features.md")


def test_the_page_of_the_configuration_has_every_setting_as_it_is() -> None:
    page = PAGE.read_text()
    assert with_tables(page) == page, "write it anew: python -m tests.support.settings_table"
    for settings in programs().values():
        assert table(settings).count("\n| `RIGBEAT_") == len(settings.model_fields)


def test_the_page_of_the_roles_has_every_route_as_it_is() -> None:
    page = access_table.PAGE.read_text()
    assert access_table.with_table(page) == page, "write it anew: python -m tests.support.access_table"
    assert access_table.table().count("\n| `") > 40


def commands() -> Iterator[tuple[str, ...]]:
    """Every command by its words, such as `deployments list`."""
    import typer

    from cli.app import app

    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, (*words, name))
            else:
                yield (*words, name)

    yield from walk(typer.main.get_command(app), ())


def test_every_command_is_in_the_docs() -> None:
    all_of_them = list(commands())
    assert len(all_of_them) > 10
    missing = [
        " ".join(words)
        for words in all_of_them
        if not re.search(rf"rigbeat (--\S+ )*{re.escape(' '.join(words))}\b", TEXT)
    ]
    assert missing == [], "not a word about them in the docs"


def test_every_command_is_in_an_example_that_is_run() -> None:
    run = "\n".join(each.commands for page in PAGES for each in examples(page.read_text()))
    missing = {" ".join(words) for words in commands() if f"rigbeat {' '.join(words)}" not in run}
    assert missing == NOT_AS_AN_EXAMPLE


def test_the_docs_name_no_command_that_does_not_exist() -> None:
    known = {" ".join(words) for words in commands()}
    groups = {words[0] for words in commands() if len(words) > 1}
    for line in re.findall(r"^rigbeat ([a-z].*)$", TEXT, re.MULTILINE):
        words = line.split()
        assert " ".join(words[:2] if words[0] in groups else words[:1]) in known, line
