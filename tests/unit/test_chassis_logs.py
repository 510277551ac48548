"""Logs: one line per event, ours and the libraries', with UTC times and without local variables in tracebacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from libs.chassis.logs import configure, get_logger


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines_carry_the_service_and_an_rfc_3339_time_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    configure("scheduler", "json")
    get_logger("libs.x").info("Fired", count=3)
    (line,) = lines(capsys)
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {"event": "Fired", "count": 3, "level": "info", "service": "scheduler", "logger": "libs.x"}


def test_the_libraries_logs_take_the_same_way_once(capsys: pytest.CaptureFixture[str]) -> None:
    own = logging.getLogger("uvicorn.access")
    own.addHandler(logging.StreamHandler())
    configure("api", "json")
    own.warning("%s asked", "someone")
    logging.getLogger("aiormq.connection").error("error when creating transport")
    logging.getLogger("aiormq.connection").warning("Connection %r was blocked by: %r", "c", "memory")
    said = [(line["logger"], line["event"], line["service"]) for line in lines(capsys)]
    assert said == [
        ("uvicorn.access", "someone asked", "api"),
        ("aiormq.connection", "Connection 'c' was blocked by: 'memory'", "api"),
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_is_printed_without_local_variables(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure("api", log_format)
    password = "".join(["hun", "ter2"])
    try:
        int(f"a bug of length {len(password)}")
    except ValueError:
        get_logger("x").exception("Crashed")
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "a bug of length 7" in said
    assert password not in said


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'console' or 'json'"):
        configure("api", "xml")
