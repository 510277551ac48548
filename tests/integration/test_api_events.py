"""Server-sent events: each change once, to whoever may see it, whichever worker is asked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from services.api.core.feed import Cursor, Position, decode
from tests.support.api import Api, created, problem, settings_for
from tests.support.events import listening, served
from tests.support.wait import until_async


@pytest.fixture
async def workers(api: Api, tmp_path: Path) -> AsyncIterator[list[str]]:
    """The addresses of two web workers on the ledger of `api`."""
    from services.api.app import create_app

    async with AsyncExitStack() as stack:
        apps = [create_app(settings_for(api.database, tmp_path)) for _ in range(2)]
        yield [await stack.enter_async_context(served(app)) for app in apps]


@pytest.fixture
def token(api: Api) -> str:
    return api.database.token(api.team, "viewer")


async def test_a_client_that_is_cut_off_misses_nothing_and_hears_nothing_twice(
    api: Api, editor: httpx.AsyncClient, workers: list[str], token: str
) -> None:
    other_team = api.database.team("other")
    other = await api.of_role("editor", other_team)
    api.database.host("other-1", other_team, ["box"], scripts=["health.py"])
    there = {"host_name": "other-1", "device_id": "box"}
    admin = await api.of_role("admin")
    api.answer_commands()
    async with (
        listening(workers[0], token) as ear,
        listening(workers[1], api.database.token(other_team, "viewer")) as stranger,
        listening(workers[1], api.database.token(None, "operator")) as operator,
    ):
        one = (await created(editor))["id"]
        execution = (await editor.post(f"/deployments/{one}/run")).json()
        await editor.post("/hosts/lab-1/devices/stb-2/lock", json={"reason": "mine"})
        heard = list(await ear.hears(3))
        assert [each.what for each in heard] == [
            ("deployment", one),
            ("execution", execution["id"]),
            ("device", "stb-2"),
        ]
        assert heard[0].data == (await editor.get(f"/deployments/{one}")).json()
        assert heard[1].data == (await editor.get(f"/executions/{execution['id']}")).json()
        device = (await editor.get("/hosts/lab-1")).json()["devices"][1]
        assert heard[2].data == {**device, "host_name": "lab-1"}
        theirs = (await created(other, **there))["id"]
        await stranger.hears(1)
        await operator.hears(4)
    assert [each.what for each in stranger.heard] == [("deployment", theirs)]
    assert [each.what for each in operator.heard] == [*(each.what for each in heard), ("deployment", theirs)]

    # While it is away: an edit twice, a deletion, something of another team.
    two = (await created(editor))["id"]
    for minute in (1, 2):
        await editor.patch(f"/deployments/{two}", json={"cron_expression": f"{minute} * * * *"})
    # Paused, because the host is revoked below, which would pause it: a change more.
    assert (await editor.post(f"/deployments/{two}/pause", json={})).status_code == 200
    await editor.delete(f"/deployments/{one}")
    await created(other, **there)
    missed = [("deployment", two), ("deployment", one)]
    for worker, in_url in ((1, False), (0, True)):
        async with listening(workers[worker], token, since=heard[-1].id, in_url=in_url) as ear:
            await ear.hears(2)
            assert (await admin.delete("/hosts/lab-1")).status_code == 200
            after = list(await ear.hears(3))
        # A last one may be a second revocation's: it is the host once for each time that somebody asked.
        assert [each.what for each in after][:2] == missed
        assert {each.what for each in after[2:]} == {("host", "lab-1")}
        assert after[0].data["cron_expression"] == "2 * * * *"
        assert after[1].data["deleted_at"] is not None
    # From the middle of what it missed.
    async with listening(workers[1], token, since=after[0].id) as ear:
        assert (await ear.hears(2))[0].what == ("deployment", one)


async def test_what_commits_late_is_told_in_its_place_and_once(
    api: Api, editor: httpx.AsyncClient, workers: list[str], token: str
) -> None:
    late, quick = (await created(editor))["id"], (await created(editor))["id"]
    note = "INSERT INTO ledger.change_feed (team_id, kind, resource_id) VALUES (%s, 'deployment', %s)"
    async with listening(workers[0], token) as ear:
        with psycopg.connect(api.database.owner_url) as slow:
            slow.execute(note, (api.team, late))
            await editor.patch(f"/deployments/{quick}", json={"cron_expression": "1 * * * *"})
            # Somebody who comes now stands before both.
            async with listening(workers[1], token) as newcomer:
                assert not ear.heard
                slow.commit()
                wanted = [("deployment", late), ("deployment", quick)]
                assert [each.what for each in await ear.hears(2)] == wanted
                assert [each.what for each in await newcomer.hears(2)] == wanted
        first = ear.heard[0].id
    barrier = (await created(editor))["id"]
    async with listening(workers[1], token, since=first) as again:
        assert [each.what for each in await again.hears(2)] == [("deployment", quick), ("deployment", barrier)]


async def test_who_cannot_be_told_what_he_missed_loads_anew(
    api: Api, editor: httpx.AsyncClient, workers: list[str], token: str
) -> None:
    await created(editor)
    async with listening(workers[0], token) as ear:
        await created(editor)
        kept = (await ear.hears(1))[0].id
        await created(editor)
        standing = (await ear.hears(2))[1].id
    cursor = decode(standing)
    assert cursor is not None
    elsewhere = Cursor(cursor.epoch + 1, cursor.position).encode()
    ahead = Cursor(cursor.epoch, Position(cursor.position.xid + 1_000_000, 1)).encode()
    for bad in ("nonsense", elsewhere, ahead, "é"):
        in_url = not bad.isascii()
        async with listening(workers[1], token, since=bad, in_url=in_url) as ear:
            [reset] = ear.heard or await ear.hears(1)
            assert (reset.event, reset.data) == ("reset", {})
            resumed = reset.id
    async with listening(workers[0], token, since=kept) as ear:
        assert [each.id for each in await ear.hears(1)] == [standing]
    api.database.execute("DELETE FROM change_feed WHERE id <= %s", (cursor.position.id,))
    async with listening(workers[0], token, since=kept) as ear:
        assert (await ear.hears(1))[0].event == "reset"
    # Nothing is left of the feed, but these have missed nothing.
    for good in (standing, resumed):
        async with listening(workers[0], token, since=good) as ear:
            assert not ear.heard
    async with listening(workers[0], token, since=resumed) as ear:
        made = (await created(editor))["id"]
        assert (await ear.hears(1))[0].what == ("deployment", made)


async def test_a_restored_ledger_is_said_to_all(
    api: Api, editor: httpx.AsyncClient, workers: list[str], token: str
) -> None:
    async with listening(workers[0], token) as ear:
        api.database.execute("UPDATE epoch SET ledger_epoch = ledger_epoch + 1")
        made = (await created(editor))["id"]
        assert [each.event for each in await ear.hears(1)] == ["reset"]
        after = (await created(editor))["id"]
        assert (await ear.hears(2))[-1].what in {("deployment", made), ("deployment", after)}


async def test_a_stream_lives_as_long_as_its_token(
    api: Api, workers: list[str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.api.routes import events

    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.1)
    async with listening(workers[0], token) as ear:

        async def is_alive() -> bool:
            return ear.comments >= 2

        await until_async(is_alive, within=10)
        api.database.execute("UPDATE api_tokens SET revoked_at = ledger.now() WHERE role = 'viewer'")

        async def is_over() -> bool:
            return ear.ended

        await until_async(is_over, within=10)
    refused = await (await api.client(token)).get("/events")
    problem(refused, 401, "unauthenticated")
    problem(await (await api.of_role("host", host="lab-1")).get("/events"), 403, "forbidden")
    problem(await (await api.client(None)).get("/events"), 401, "unauthenticated")


async def test_a_stream_ends_at_once_when_its_worker_stops(api: Api, token: str, tmp_path: Path) -> None:
    from services.api.app import create_app

    stack = AsyncExitStack()
    async with stack:
        url = await stack.enter_async_context(
            served(create_app(settings_for(api.database, tmp_path)), patience_seconds=30)
        )
        async with listening(url, token) as ear:
            began = time.monotonic()
            await stack.aclose()
            assert time.monotonic() - began < 5

            async def is_over() -> bool:
                return ear.ended

            await until_async(is_over, within=5)


async def test_a_lost_session_loses_no_change(
    api: Api, editor: httpx.AsyncClient, workers: list[str], token: str
) -> None:
    async with listening(workers[0], token) as ear:
        one = (await created(editor))["id"]
        await ear.hears(1)
        with psycopg.connect(api.database.superuser_url, autocommit=True) as admin:
            gone = admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'rigbeat_ingest' AND datname = %s",
                (api.database.name,),
            ).fetchall()
        assert gone
        two = (await created(editor))["id"]
        assert [each.what for each in await ear.hears(2)] == [("deployment", one), ("deployment", two)]


async def test_who_shares_a_host_is_told_of_its_devices(
    api: Api, editor: httpx.AsyncClient, workers: list[str]
) -> None:
    guests = api.database.team("guests")
    api.database.execute("UPDATE hosts SET shared_teams = ARRAY[%s]::uuid[]", (guests,))
    guest = await api.of_role("editor", guests)
    api.answer_commands()
    async with (
        listening(workers[0], api.database.token(guests, "viewer")) as ear,
        listening(workers[0], api.database.token(api.team, "viewer")) as owner,
        listening(workers[0], api.database.token(None, "operator")) as operator,
    ):
        answer = await guest.post("/hosts/lab-1/devices/stb-1/lock", json={"reason": "ours for a while"})
        assert answer.status_code == 200, answer.text
        barrier = (await created(editor))["id"]
        for each in (ear, owner, operator):
            assert (await each.hears(1))[0].what == ("device", "stb-1")
        assert [each.what for each in await operator.hears(2)] == [("device", "stb-1"), ("deployment", barrier)]
        assert [each.what for each in await owner.hears(2)] == [("device", "stb-1"), ("deployment", barrier)]
    assert len(ear.heard) == 1


async def test_without_the_database_it_says_so(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.api import feed
    from services.api.app import create_app

    monkeypatch.setattr(feed, "READY_SECONDS", 0.3)
    nowhere = {"ingest_database_url": SecretStr("postgresql://x@127.0.0.1:1/x")}
    settings = settings_for(api.database, tmp_path).model_copy(update=nowhere)
    async with served(create_app(settings)) as url, httpx.AsyncClient(trust_env=False, timeout=20) as client:
        headers = {"Authorization": f"Bearer {api.database.token(api.team, 'viewer')}"}
        problem(await client.get(f"{url}/events", headers=headers), 503, "unavailable")
        missing = await client.get(f"{url}/executions/{api.team}", headers=headers)
        problem(missing, 404, "not-found")
