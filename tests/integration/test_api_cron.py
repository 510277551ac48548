"""Schedules over HTTP, before they are saved."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api import Api, problem


@pytest.fixture
async def stopped_clock(api: Api) -> None:
    api.database.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE "
        "AS $$ SELECT '2026-11-23 10:00:00+00'::timestamptz $$"
    )


async def previewed(client: httpx.AsyncClient, **asked: object) -> dict[str, Any]:
    answer = await client.post("/cron/preview", json=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"valid", "error", "description", "next", "notes", "runs_per_day", "conflicts"}
    return body


@pytest.mark.usefixtures("stopped_clock")
async def test_a_preview_has_words_and_fires(editor: httpx.AsyncClient) -> None:
    body = await previewed(editor, cron_expression="0 9 * * 1-5", timezone="Europe/Berlin")
    assert body == {
        "valid": True,
        "error": None,
        "description": "At 09:00, Monday to Friday",
        "next": [f"2026-11-{day}T08:00:00Z" for day in (24, 25, 26, 27, 30)],
        "notes": [],
        "runs_per_day": None,
        "conflicts": None,
    }
    limited = await previewed(
        editor,
        cron_expression="0 * * * *",
        start_date="2026-11-24T00:00:00Z",
        end_date="2026-11-24T02:00:00Z",
        count=200,
    )
    assert limited["next"] == ["2026-11-24T00:00:00Z", "2026-11-24T01:00:00Z"]


@pytest.mark.usefixtures("stopped_clock")
async def test_daylight_saving_is_noted(editor: httpx.AsyncClient) -> None:
    body = await previewed(
        editor,
        cron_expression="30 2 * * *",
        timezone="Europe/Berlin",
        start_date="2027-03-26T12:00:00Z",
        count=3,
    )
    # 02:30 does not exist on 28 March: it runs right after the gap.
    assert body["next"] == ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
    assert any("forward" in note for note in body["notes"])


@pytest.mark.usefixtures("stopped_clock")
async def test_h_is_shown_resolved(editor: httpx.AsyncClient) -> None:
    body = await previewed(editor, cron_expression="H 2 * * *")
    assert body["valid"]
    assert "H is spread" in body["notes"][0]


@pytest.mark.usefixtures("stopped_clock")
async def test_what_is_refused_answers_200_with_the_part_at_fault(editor: httpx.AsyncClient) -> None:
    for asked, field in (
        ({"cron_expression": "0 24 * * *"}, "hour"),
        ({"cron_expression": "61 * * * *"}, "minute"),
        ({"cron_expression": "* * *"}, "expression"),
        ({"cron_expression": "* * * * *", "timezone": "Mars"}, "timezone"),
        ({"cron_expression": "* * * * *", "end_date": "2026-11-23T09:00:00Z"}, "end_date"),
    ):
        body = await previewed(editor, **asked)
        assert (body["valid"], body["error"]["field"], body["next"]) == (False, field, [])
        assert body["error"]["message"]
    for wrong in (
        {"cron_expression": 5},
        {},
        {"cron_expression": "* * * * *", "count": "5"},
        {"cron_expression": "* * * * *", "count": 201},
        {"cron_expression": "* * * * *", "start_date": "tomorrow"},
        {"cron_expression": "* * * * *", "seconds": 1},
    ):
        problem(await editor.post("/cron/preview", json=wrong), 422, "invalid-input")


async def test_presets_have_words(editor: httpx.AsyncClient) -> None:
    presets = (await editor.get("/cron/presets")).json()
    assert len(presets) >= 14
    assert {
        "name": "Weekdays at 9am",
        "cron_expression": "0 9 * * 1-5",
        "description": "At 09:00, Monday to Friday",
    } in (presets)
