"""How answers are printed: a table for people on a terminal, tab-separated lines for pipes, JSON for programs.

Piped output is whole, without colour: one header line, then one line for each row. On a terminal a row is one line too;
ids and names are never cut, other texts are when the line is full.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Control characters (a line break, a tab, a terminal's escape), and what turns the direction of a whole line. Not what
# joins the parts of an emoji or of a word: a name is printed as it is, so that it can be used again.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_GAP = 2
_SHORTEST = 12
_STYLES = {
    "active": "green",
    "up": "green",
    "online": "green",
    "free": "green",
    "completed": "green",
    "running": "cyan",
    "triggered": "cyan",
    "queued": "cyan",
    "waiting": "cyan",
    "paused": "yellow",
    "skipped": "yellow",
    "cancelled": "yellow",
    "restarting": "yellow",
    "locked": "yellow",
    "failed": "red",
    "down": "red",
    "offline": "red",
    "revoked": "red",
    "create": "green",
    "change": "yellow",
    "replace": "red",
    "delete": "red",
}


@dataclass(frozen=True)
class Column:
    """One column: the API's own name, and how it is had from an object when it is not simply its field.

    On a terminal that is too narrow, a text with `cut` is shortened first, then columns with `spare` are left out, the
    last one first.
    """

    name: str
    of: Callable[[Mapping[str, Any]], object] | None = None
    cut: bool = False
    spare: bool = False

    def text(self, item: Mapping[str, Any]) -> str:
        """The cell, on one line; what is absent is empty."""
        return plain(item.get(self.name) if self.of is None else self.of(item))


def plain(value: object) -> str:
    """A value as one line of text, in the API's own words: nothing in it can break a table or steer a terminal."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return _UNSAFE.sub(" ", value)
        case dict() | list():
            return _UNSAFE.sub(" ", json.dumps(value, ensure_ascii=False))
        case _:
            return str(value)


def widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> dict[int, int]:
    """The numbers of the columns that a terminal of `room` signs shows, and how wide each of them is."""
    wide = {
        number: max([_cells(column.name), *(_cells(row[number]) for row in rows)])
        for number, column in enumerate(columns)
    }
    while (over := sum(wide.values()) + _GAP * (len(wide) - 1) - room) > 0:
        cuttable = [number for number in wide if columns[number].cut and wide[number] > _SHORTEST]
        spare = [number for number in wide if columns[number].spare]
        if cuttable:
            longest = max(cuttable, key=lambda number: wide[number])
            wide[longest] = max(_SHORTEST, wide[longest] - over)
        elif spare:
            del wide[spare[-1]]
        else:
            break
    return wide


class Output:
    """Where a command's answer goes; `as_json` prints the API's objects as they are."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def one(self, item: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """One object: a table of one row, or the object."""
        if self.as_json:
            _print_json(item)
        else:
            self._rows([item], columns)

    def many(self, items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        """A list: a table, or a JSON array."""
        if self.as_json:
            _print_json(items)
        else:
            self._rows(items, columns)

    def fields(self, item: Mapping[str, Any]) -> None:
        """One object with all that it has: a line for each field, or the object."""
        if self.as_json:
            _print_json(item)
        else:
            rows = [{"field": name, "value": value} for name, value in item.items()]
            self._rows(rows, (Column("field"), Column("value")))

    def line(self, text: str) -> None:
        """A sentence that is itself the answer, or a heading of it."""
        if not self.as_json:
            sys.stdout.write(f"{plain(text)}\n")

    def note(self, line: str) -> None:
        """A line for people besides the answer; on standard error, so that a pipe gets the answer alone."""
        if not self.as_json:
            # Where both go to one file, such as a pipeline's log, the answer that came before stands before it.
            sys.stdout.flush()
            sys.stderr.write(f"{plain(line)}\n")

    def _rows(self, items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        rows = [[column.text(item) for column in columns] for item in items]
        if sys.stdout.isatty():
            _print_table(columns, rows)
            return
        for row in ([column.name for column in columns], *rows):
            sys.stdout.write("\t".join(row) + "\n")


def _print_json(value: object) -> None:
    # What JSON itself leaves as it is; within its strings, where alone it can stand, \u means the same to every reader.
    text = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=2, ensure_ascii=False))
    sys.stdout.write(f"{text}\n")


def _print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    console = Console(highlight=False)
    wide = widths(columns, rows, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number, width in wide.items():
        table.add_column(columns[number].name, width=width, no_wrap=True, overflow="ellipsis")
    for row in rows:
        cells = [row[number] for number in wide]
        table.add_row(*(Text(cell or "-", _STYLES.get(cell, "") if cell else "dim") for cell in cells))
    # As wide as it must be: a terminal that is too narrow for the ids breaks the line itself, and nothing is lost.
    console.width = max(console.width, sum(wide.values()) + _GAP * len(wide))
    console.print(table)


def _cells(text: str) -> int:
    return Text(text).cell_len
