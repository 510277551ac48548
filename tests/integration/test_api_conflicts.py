"""What a schedule meets on its devices, before it is saved."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api import AT_STB_1, Api, created, problem

AT_STB_2 = {"host_name": "lab-1", "device_id": "stb-2"}


@pytest.fixture(autouse=True)
async def stopped_clock(api: Api) -> None:
    api.database.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE "
        "AS $$ SELECT '2026-11-23 10:00:00+00'::timestamptz $$"
    )


async def previewed(client: httpx.AsyncClient, **asked: object) -> dict[str, Any]:
    answer = await client.post("/cron/preview", json={"targets": [AT_STB_1], "script_name": "health.py", **asked})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def named(body: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["at"][11:16], each["device_id"], each["deployment"]) for each in body["conflicts"]]


async def test_who_is_due_at_the_same_minute_and_what_to_write_instead(api: Api, editor: httpx.AsyncClient) -> None:
    await created(editor, name="hourly", cron_expression="0 * * * *")
    await created(editor, name="elsewhere", cron_expression="* * * * *", device_id="stb-2")
    body = await previewed(editor, cron_expression="*/30 * * * *", count=4)
    assert body["runs_per_day"] == 48
    assert body["conflicts"][0] == {
        "at": "2026-11-23T10:00:00Z",
        "host_name": "lab-1",
        "device_id": "stb-1",
        "deployment": "hourly",
        "would": "skipped: device_busy",
        "alternative_cron": "1-59/30 * * * *",
    }
    assert named(body) == [("10:00", "stb-1", "hourly"), ("11:00", "stb-1", "hourly")]
    instead = await previewed(editor, cron_expression="1-59/30 * * * *", count=200, on_device_busy="queue")
    assert instead["conflicts"] == []
    waits = await previewed(editor, cron_expression="0 * * * *", count=1, on_device_busy="queue")
    assert [each["would"] for each in waits["conflicts"]] == ["waits"]


async def test_an_alternative_is_free_on_all_the_devices_if_there_is_one(editor: httpx.AsyncClient) -> None:
    await created(editor, name="one", cron_expression="0,1 * * * *")
    await created(editor, name="two", cron_expression="0,2 * * * *", device_id="stb-2")
    both = await previewed(editor, cron_expression="0 * * * *", count=1, targets=[AT_STB_1, AT_STB_2])
    assert {each["alternative_cron"] for each in both["conflicts"]} == {"3 * * * *"}
    await created(editor, name="rest", cron_expression="* * * * *", device_id="stb-2")
    apart = await previewed(editor, cron_expression="0 * * * *", count=1, targets=[AT_STB_1, AT_STB_2])
    found = {each["device_id"]: each["alternative_cron"] for each in apart["conflicts"]}
    assert found == {"stb-1": "2 * * * *", "stb-2": None}


async def test_only_what_will_fire_is_in_the_way(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    made = {name: await created(editor, name=name, cron_expression="0 * * * *") for name in ("a", "b", "c", "d")}
    await editor.post(f"/deployments/{made['a']['id']}/pause")
    await editor.delete(f"/deployments/{made['b']['id']}")
    await editor.patch(f"/deployments/{made['c']['id']}", json={"start_date": "2026-11-23T12:00:00Z"})
    edited = made["d"]["id"]
    body = await previewed(editor, cron_expression="0 * * * *", count=3, deployment_id=edited)
    assert named(body) == [("12:00", "stb-1", "c")]


async def test_another_team_on_a_shared_host_has_no_name(api: Api, editor: httpx.AsyncClient) -> None:
    other = api.database.team("other")
    api.database.execute("UPDATE hosts SET shared_teams = ARRAY[%s::uuid]", (other,))
    api.database.host("lab-2", other, ["stb-1"], scripts=["health.py"])
    theirs = await api.of_role("editor", other)
    await created(theirs, name="secret", cron_expression="0 * * * *")
    await created(theirs, name="hidden", cron_expression="0 * * * *", host_name="lab-2")
    body = await previewed(editor, cron_expression="0 * * * *", count=1)
    assert named(body) == [("10:00", "stb-1", "another team")]
    assert "secret" not in str(body)
    unseen = await previewed(
        editor, cron_expression="0 * * * *", targets=[{"host_name": "lab-2", "device_id": "stb-1"}]
    )
    assert (unseen["conflicts"], unseen["notes"]) == ([], ["There is no host lab-2"])
    operator = await api.client(api.database.token(None, "operator"))
    assert named(await previewed(operator, cron_expression="0 * * * *", count=1)) == [("10:00", "stb-1", "secret")]


async def test_a_script_that_takes_longer_than_its_interval_is_noted(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    for _ in range(3):
        await editor.post(f"/deployments/{made['id']}/run")
    api.database.execute("UPDATE deployment_executions SET status = 'completed', duration_seconds = 95.2")
    body = await previewed(editor, cron_expression="* * * * *", targets=[AT_STB_2])
    assert body["notes"] == [
        "health.py usually takes 95 s and this fires every 60 s: one run waits, further ones are skipped"
    ]
    assert (await previewed(editor, cron_expression="*/2 * * * *", targets=[AT_STB_2]))["notes"] == []


async def test_what_cannot_be_there_is_noted_and_what_is_wrong_refused(editor: httpx.AsyncClient) -> None:
    body = await previewed(
        editor,
        cron_expression="0 * * * *",
        script_name="nosuch.py",
        targets=[{"host_name": "lab-1", "device_id": "stb-9"}],
    )
    assert body["notes"] == ["lab-1 has no device stb-9", "lab-1 has no script nosuch.py"]
    refused = await previewed(editor, cron_expression="0 24 * * *")
    assert (refused["valid"], refused["runs_per_day"], refused["conflicts"]) == (False, None, None)
    for field, wrong in (("targets", []), ("script_name", "../x"), ("on_device_busy", "fight")):
        asked: dict[str, object] = {"cron_expression": "0 * * * *", field: wrong}
        answer = await editor.post("/cron/preview", json=asked)
        assert problem(answer, 422, "invalid-input")["errors"][0]["field"] == field


async def test_many_conflicts_are_counted_and_the_first_listed(editor: httpx.AsyncClient) -> None:
    for number in range(3):
        await created(editor, name=f"d{number}", cron_expression="* * * * *")
    body = await previewed(editor, cron_expression="* * * * *", count=100)
    assert len(body["conflicts"]) == 200
    assert body["notes"] == ["300 conflicts; the first 200 are listed"]
    assert {each["alternative_cron"] for each in body["conflicts"]} == {None}
