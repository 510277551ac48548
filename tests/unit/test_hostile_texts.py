"""A name, a reason, an answer or an output that would be more than text: forge a line, steer a terminal, turn it round.

One table of texts, every place where people read what others wrote.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import structlog

from cli import screen
from cli.client import refusal
from cli.errors import CliError
from cli.output import Column, Output, plain
from libs.chassis.logs import configure, get_logger
from libs.contracts import Change, DeploymentStatus, Reason
from services.host_runner.core.vocabulary import RunExited, RunRequested
from tests.attack.hostile import TEXTS, leaks
from tests.support.desk import Desk, notice, state
from tests.support.host_runner import T0, trigger
from tests.support.outcomes import a_failure

HOSTILE = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@HOSTILE
def test_the_deployments_log_has_its_own_lines_and_no_others(tmp_path: Path, text: str) -> None:
    counts = []
    for number, odd in enumerate(("plain", text)):
        place = tmp_path / str(number)
        place.mkdir()
        desk = Desk(place)
        run = trigger("d", deployment_name=odd, script_name=odd, parameters=odd)
        desk.log.synced([state(odd, odd, timezone=odd)], T0)
        lost = replace(a_failure(T0), reason=Reason.SPAWN_FAILED, message=odd)
        for each in (RunRequested(run, False, T0), RunExited(run.execution_id, T0, lost, T0)):
            desk.tell(each)
        for change in Change:
            for status in DeploymentStatus:
                desk.log.noticed(notice(odd, change, status=status, by=odd, message=odd, device_id=odd), T0)
        desk.log.close()
        lines = desk.text().removesuffix("\n").split("\n")
        counts.append(len(lines))
        assert [leaks(line) for line in lines] == [[]] * len(lines)
        assert all(line.startswith(f"{T0:%Y-%m-%d %H:%M:%S} [") for line in lines)
    assert counts[0] == counts[1] > 30


@HOSTILE
@pytest.mark.parametrize("colours", [False, True], ids=["file", "terminal"])
def test_the_console_log_has_a_line_for_each_event(monkeypatch: pytest.MonkeyPatch, text: str, colours: bool) -> None:
    said = Terminal() if colours else io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    configure("api", "console")
    log = get_logger("x")
    log.info(text, name=text, short=text.replace(" ", ""), many=[text], by={text: text}, error=OSError(text))
    logging.getLogger("library").warning("of %s", text)
    log.error("Crashed", exc_info=ValueError(text))
    shown = without_colours(said.getvalue())
    lines = shown.removesuffix("\n").split("\n")
    assert [leaks(line) for line in lines] == [[]] * len(lines)
    # What does not begin with a time is a traceback, behind its margin.
    events = [line for line in lines if not line.startswith("    ")]
    assert len(events) == 3
    assert all(line.startswith("20") and "service=api" in line for line in events)
    assert "    ValueError: a" in shown


@HOSTILE
def test_the_json_log_has_a_line_for_each_event(capsys: pytest.CaptureFixture[str], text: str) -> None:
    configure("api", "json")
    get_logger("x").info(text, name=text, by={text: text})
    [line] = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert leaks(line) == []
    assert json.loads(line)["name"] == text


@HOSTILE
def test_a_table_of_the_command_line_has_its_rows_and_no_others(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    columns = (Column("id"), Column("name"), Column("message", cut=True))
    item = {"id": text, "name": text, "message": text}
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "400")
    for out in (io.StringIO(), Terminal()):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", out)
            Output().many([item, item], columns)
            Output().fields({"a": text, "b": {text: [text]}})
            Output().line(text)
        lines = out.getvalue().removesuffix("\n").split("\n")
        assert len(lines) == 3 + 3 + 1
        assert [leaks(line.replace("\t", "")) for line in lines] == [[]] * len(lines)


@HOSTILE
def test_json_on_a_terminal_says_the_same_and_steers_nothing(capsys: pytest.CaptureFixture[str], text: str) -> None:
    Output(as_json=True).fields({"name": text, text: text})
    shown = capsys.readouterr().out
    assert [leaks(line) for line in shown.split("\n")] == [[]] * len(shown.split("\n"))
    assert json.loads(shown) == {"name": text, text: text}


@HOSTILE
def test_a_refusal_is_its_own_lines(text: str) -> None:
    problem = {"detail": text, "errors": [{"field": text, "message": text, "hint": text}]}
    error = refusal(httpx.Response(422, json=problem))
    assert isinstance(error, CliError)
    assert [leaks(plain(line)) for line in (error.sentence, *error.more)] == [[], []]


@pytest.mark.parametrize(("name", "text"), TEXTS.items(), ids=TEXTS.keys())
def test_a_log_on_a_terminal_has_colours_and_steers_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    content = f"before {text} after größe\n"
    raw = content.encode()
    shown = []
    for parts in ([raw[at : at + 1] for at in range(len(raw))], [raw], content, [content]):
        out = Terminal()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", out)
            if isinstance(parts[0], bytes):
                screen.write(parts)  # type: ignore[arg-type]  # all of them are
            else:
                screen.write_text(parts)  # type: ignore[arg-type]
        shown.append(out.getvalue())
    assert len(set(shown)) == 1, "it does not matter how the parts are cut"
    lines = without_colours(shown[0]).split("\n")
    assert [leaks(line.replace("\r", "")) for line in lines] == [[]] * len(lines)
    if name in {"newline", "carriage return", "both"}:
        assert shown[0] == content
    if name == "colour":
        assert shown[0] == content + "\x1b[0m"
    assert lines[-2].endswith(" after größe")


def test_an_order_that_is_never_ended_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    screen.write_text(["a\x1b[3", "1"])
    assert out.getvalue() == "a\\x1b[31"


def test_a_log_in_a_pipe_is_the_bytes_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8")
    content = b"\xff\x1b[2J\x9b\0" + "\u202e".encode()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        screen.write([content[:3], content[3:]])
    assert raw.getvalue() == content


def without_colours(text: str) -> str:
    """What is left when the colours that are meant are taken away."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
