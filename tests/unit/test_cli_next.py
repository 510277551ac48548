"""`rigbeat next`: the API's preview, without the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.commands.next import preview_of
from services.api.preview import preview
from services.api.shapes.preview import PreviewRequest

NOW = datetime(2026, 3, 20, 12, 0, 30, tzinfo=UTC)


def run(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["next", *arguments])
    return ended.exit_code, ended.stdout, ended.stderr


def test_a_pipe_gets_the_times_in_utc_and_in_the_zone() -> None:
    code, out, err = run("0 9 * * MON-FRI", "--tz", "Europe/Berlin", "--count", "3")
    header, *lines = out.splitlines()
    assert code == 0
    assert header == "next\tlocal (Europe/Berlin)"
    assert len(lines) == 3
    for line in lines:
        at, local = line.split("\t")
        assert datetime.fromisoformat(at) > datetime(2026, 1, 1, tzinfo=UTC)
        assert local.split()[2] == "09:00"
    assert "At 09:00, Monday to Friday" in err


def test_what_is_not_valid_is_exit_code_1_with_a_sentence_and_what_to_write() -> None:
    code, out, err = run("0 24 * * *")
    assert (code, out) == (1, "")
    assert "24 is not an hour" in err


def test_json_says_it_all_for_both_answers() -> None:
    code, out, _ = run("0 24 * * *", "--json")
    refused = json.loads(out)
    assert code == 1
    assert (refused["valid"], refused["error"]["field"], refused["next"]) == (False, "hour", [])
    code, out, _ = run("*/10 * * * *", "--json")
    assert code == 0
    assert len(json.loads(out)["next"]) == 5


def test_a_zone_that_does_not_exist_is_no_too() -> None:
    code, _, err = run("* * * * *", "--tz", "Europe/Berln")
    assert code == 1
    assert "Did you mean Europe/Berlin?" in err


@pytest.mark.parametrize("count", ["0", "201", "many"])
def test_a_count_out_of_range_is_a_mistake_in_usage(count: str) -> None:
    assert run("* * * * *", "--count", count)[0] == 2


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Nowhere/Land"])
@pytest.mark.parametrize(
    "expression",
    ["*/10 * * * *", "30 2 * * *", "0 22-6 * * *", "0 0 29 2 *", "0 0 31 2 *", "0 24 * * *", "", "0 */2 28-31 * SUN"],
)
def test_it_is_the_answer_that_the_api_gives(expression: str, zone: str) -> None:
    of_api = preview(PreviewRequest(cron_expression=expression, timezone=zone, count=30), NOW, "team")
    assert preview_of(expression, zone, 30, NOW) == of_api.model_dump(mode="json")
