"""How the command line prints: tabs for pipes, one line a row on a terminal, JSON for programs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping

import pytest

from cli.output import Column, Output, plain, widths

ID = "0199f3a2-1c00-7000-8000-000000000001"
COLUMNS = (Column("id"), Column("name"), Column("device_id", spare=True), Column("message", cut=True))
ROW = {"id": ID, "name": "health_143052", "device_id": None, "message": "Stopped after 3600 s,\tits\ntime limit " * 5}


class Terminal(io.StringIO):
    """A standard output that people look at."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, item: Mapping[str, object], wide: int, **env: str) -> list[str]:
    """The lines that a terminal so wide shows."""
    shown = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": str(wide), **env}.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", shown)
        Output().many([item], COLUMNS)
    return shown.getvalue().splitlines()


def test_a_pipe_gets_one_header_line_and_whole_lines_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    Output().many([ROW, {**ROW, "name": "zap"}], COLUMNS)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "id\tname\tdevice_id\tmessage"
    assert [line.split("\t")[:3] for line in lines] == [[ID, "health_143052", ""], [ID, "zap", ""]]
    assert lines[0].split("\t")[3] == "Stopped after 3600 s, its time limit " * 5


def test_an_empty_list_is_its_header_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Output().many([], COLUMNS)
    assert capsys.readouterr().out == "id\tname\tdevice_id\tmessage\n"


def test_json_is_the_objects_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).many([ROW], COLUMNS)
    assert json.loads(capsys.readouterr().out) == [ROW]


def test_on_a_terminal_a_row_is_one_line_and_only_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    header, line = on_terminal(monkeypatch, ROW, 90)
    assert "device_id" in header
    assert ID in line
    assert "health_143052" in line
    assert "…" in line


def test_on_a_narrow_terminal_spare_columns_go_and_ids_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    header, line = on_terminal(monkeypatch, ROW, 30)
    assert "device_id" not in header
    assert ID in line
    assert "health_143052" in line


def test_statuses_have_a_colour_unless_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    item = {**ROW, "name": "active"}
    assert "\x1b[32mactive" in on_terminal(monkeypatch, item, 90)[1]
    plain_line = on_terminal(monkeypatch, item, 90, NO_COLOR="1")[1]
    assert "active" in plain_line
    assert "\x1b[3" not in plain_line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (1.5, "1.5"),
        ("a\x1b[2Jb\r\n\u2028c", "a [2Jb   c"),
        ("\u202etac\x9b2J\0", " tac 2J "),
        ({"a": [1]}, '{"a": [1]}'),
        ({"a": "\x9b2J\u2028"}, '{"a": " 2J "}'),
        ("📺 тест شاشة 👩‍🔬 می‌خواهم", "📺 тест شاشة 👩‍🔬 می‌خواهم"),
    ],
)
def test_no_value_can_break_a_line_or_steer_a_terminal(value: object, text: str) -> None:
    assert plain(value) == text


def test_texts_give_way_before_columns_do() -> None:
    columns = (Column("id"), Column("spare", spare=True), Column("text", cut=True))
    rows = [["x" * 36, "y" * 10, "z" * 50]]
    assert widths(columns, rows, 200) == {0: 36, 1: 10, 2: 50}
    assert widths(columns, rows, 80) == {0: 36, 1: 10, 2: 30}
    assert widths(columns, rows, 50) == {0: 36, 2: 12}
    assert widths(columns, rows, 10) == {0: 36, 2: 12}
