"""Signing in: a cookie for a token or a link, what it may do, from where, and when it ends."""

from __future__ import annotations

import asyncio
import re
from http.cookies import SimpleCookie
from typing import Any

import httpx
import psycopg
import pytest

from services.api.authenticator import Credentials
from services.api.cookies import OVER_TLS, WITHOUT_TLS
from services.api.failed_tries import MOST_A_MINUTE
from tests.support.api import Api, created, problem, until_open
from tests.support.ledger import shift_now

OWN = "http://api"
PAGE = {"Origin": OWN}
"""What a browser adds to a change that a page of ours asks for."""


async def browser(api: Api, base: str = OWN) -> httpx.AsyncClient:
    """A client without a token, which keeps cookies."""
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    return await api.stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=f"{base}/api/v1"))


async def signed_in(api: Api, token: str) -> tuple[httpx.AsyncClient, dict[str, Any]]:
    client = await browser(api)
    answer = await client.post("/session", json={"token": token}, headers=PAGE)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return client, body


def cookie_of(client: httpx.AsyncClient) -> str:
    return str(client.cookies[WITHOUT_TLS])


def changing(session: dict[str, Any]) -> dict[str, str]:
    return {**PAGE, "X-CSRF-Token": session["csrf_token"]}


def token_id(api: Api, token: str) -> str:
    [(identity,)] = api.database.execute("SELECT id FROM api_tokens WHERE prefix = %s", (token.split("_")[1],))
    return str(identity)


async def made_link(api: Api, token: str) -> str:
    """The code of a new link."""
    answer = await (await api.client(token)).post("/login-links")
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["url"]
    assert url.startswith(f"{OWN}/sign-in?code=")
    return url.partition("code=")[2]


async def test_a_token_becomes_a_cookie_which_tells_who_it_is_changes_things_and_ends_at_once(api: Api) -> None:
    api.answer_commands()
    token = api.database.token(api.team, "editor")
    client, session = await signed_in(api, token)
    assert (session["name"], session["role"]) == ("editor-token", "editor")
    assert (session["team_id"], session["team_name"]) == (str(api.team), "lab")
    assert (await client.get("/session")).json() == session
    cookie = cookie_of(client)
    assert len(cookie) == 43
    assert cookie not in str(api.database.execute("SELECT s::text FROM sessions s"))
    deployment = await created(await api.client(token))
    paused = await client.post(f"/deployments/{deployment['id']}/pause", headers=changing(session))
    assert paused.json()["status"] == "paused"
    answer = await client.delete("/session", headers=changing(session))
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    again = await browser(api)
    again.cookies.set(WITHOUT_TLS, cookie)
    assert "signed out" in problem(await again.get("/session"), 401, "unauthenticated")["detail"]
    # The token is as good as before, and the audit has all of it under its name.
    assert (await (await api.client(token)).get("/session")).json()["csrf_token"] is None
    audit = api.database.execute(
        "SELECT actor, action, token_prefix FROM audit_log WHERE action IN ('sign in', 'pause', 'sign out') ORDER BY id"
    )
    prefix = token.split("_")[1]
    assert audit == [("editor-token", action, prefix) for action in ("sign in", "pause", "sign out")]


async def test_the_cookie_is_out_of_the_reach_of_scripts_and_other_sites(api: Api) -> None:
    for base, name, not_read in (("http://api", WITHOUT_TLS, OVER_TLS), ("https://api", OVER_TLS, WITHOUT_TLS)):
        client = await browser(api, base)
        answer = await client.post("/session", json={"token": api.database.token(api.team, "viewer")})
        [morsel] = SimpleCookie(answer.headers["set-cookie"]).values()
        assert (morsel.key, morsel["path"], morsel["domain"]) == (name, "/", "")
        assert (bool(morsel["httponly"]), morsel["samesite"]) == (True, "strict")
        assert bool(morsel["secure"]) is base.startswith("https")
        assert 0 < int(morsel["max-age"]) <= 7 * 86_400
        assert answer.headers["cache-control"] == "no-store"
        other = await browser(api, base)
        other.cookies.set(not_read, morsel.value)
        problem(await other.get("/session"), 401, "unauthenticated")


GOOD, BAD = "{good}", "{bad}"
CHANGES: list[tuple[dict[str, str], bool]] = [
    ({}, False),
    ({"X-CSRF-Token": GOOD}, False),
    ({"Origin": OWN}, False),
    ({"Origin": OWN, "X-CSRF-Token": ""}, False),
    ({"Origin": OWN, "X-CSRF-Token": "A" * 43}, False),
    ({"Origin": OWN, "X-CSRF-Token": BAD}, False),
    ({"Origin": "https://evil.example", "X-CSRF-Token": GOOD}, False),
    ({"Origin": "https://api", "X-CSRF-Token": GOOD}, False),
    ({"Origin": "http://api:8081", "X-CSRF-Token": GOOD}, False),
    ({"Origin": "http://api.evil.example", "X-CSRF-Token": GOOD}, False),
    ({"Origin": "null", "X-CSRF-Token": GOOD}, False),
    ({"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": GOOD}, False),
    ({"Sec-Fetch-Site": "same-site", "X-CSRF-Token": GOOD}, False),
    ({"Sec-Fetch-Site": "none", "X-CSRF-Token": GOOD}, False),
    ({"Origin": OWN, "Sec-Fetch-Site": "cross-site", "X-CSRF-Token": GOOD}, False),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": GOOD}, False),
    ({"Origin": OWN, "X-CSRF-Token": GOOD}, True),
    ({"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": GOOD}, True),
    ({"Origin": OWN, "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": GOOD}, True),
]


async def test_a_change_by_cookie_needs_the_sessions_own_word_and_a_page_of_ours(api: Api) -> None:
    api.answer_commands()
    token = api.database.token(api.team, "editor")
    client, session = await signed_in(api, token)
    _, other = await signed_in(api, token)
    words = {GOOD: session["csrf_token"], BAD: other["csrf_token"]}
    bearer = await api.client(token)
    for headers, may in CHANGES:
        sent = {name: words.get(value, value) for name, value in headers.items()}
        made = await created(bearer)
        answers = [
            await client.post(f"/deployments/{made['id']}/pause", headers=sent),
            await client.patch(f"/deployments/{made['id']}", headers=sent, json={"parameters": "--new"}),
            await client.delete(f"/deployments/{made['id']}", headers=sent),
        ]
        for answer in answers:
            if may:
                assert answer.is_success, (headers, answer.text)
            else:
                problem(answer, 403, "forbidden")
        after = (await bearer.get(f"/deployments/{made['id']}")).json()
        assert (after["version"] == 1) is not may, headers
    # Reading needs neither: EventSource and links cannot send them, and nobody elsewhere can read the answer.
    assert (await client.get("/deployments", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


async def test_behind_a_proxy_the_public_url_says_what_our_own_pages_are(api: Api) -> None:
    from services.api.cookies import SessionRules

    rules: SessionRules = api.app.state.session_rules
    api.app.state.session_rules = SessionRules(rules.lasts, rules.idle, "https://Rigbeat.lab:443/")
    client = await browser(api, "http://10.0.0.9:8080")
    token = api.database.token(api.team, "editor")
    answer = await client.post("/session", json={"token": token}, headers={"Origin": "https://rigbeat.lab"})
    assert answer.headers["set-cookie"].startswith(f"{OVER_TLS}=")
    assert "Secure" in answer.headers["set-cookie"]
    # What the browser then sends over TLS to the proxy, and the proxy in clear to us.
    word, cookie = answer.json()["csrf_token"], SimpleCookie(answer.headers["set-cookie"])[OVER_TLS].value
    sent = {"Cookie": f"{OVER_TLS}={cookie}", "X-CSRF-Token": word}
    problem(await client.delete("/session", headers={**sent, "Origin": "http://10.0.0.9:8080"}), 403, "forbidden")
    assert (await client.delete("/session", headers={**sent, "Origin": "https://rigbeat.lab"})).status_code == 204
    link = await client.post("/login-links", headers={"Authorization": f"Bearer {token}"})
    assert link.json()["url"].startswith("https://rigbeat.lab/sign-in?code=")


async def test_a_cookie_and_a_token_must_not_be_of_two(api: Api) -> None:
    api.answer_commands()
    token, other = api.database.token(api.team, "editor"), api.database.token(api.team, "admin")
    client, session = await signed_in(api, token)
    deployment = await created(await api.client(token))
    pause = f"/deployments/{deployment['id']}/pause"
    problem(await client.get("/session", headers={"Authorization": f"Bearer {other}"}), 401, "unauthenticated")
    problem(
        await client.post(pause, headers={"Authorization": f"Bearer {other}", **changing(session)}),
        401,
        "unauthenticated",
    )
    # What is no token does not turn a request into one without.
    problem(await client.get("/session", headers={"Authorization": "Basic YTpi"}), 401, "unauthenticated")
    # Of the same token they agree, and a token needs no word: no browser adds it by itself.
    assert (await client.post(pause, headers={"Authorization": f"Bearer {token}"})).status_code == 200
    await client.delete("/session", headers=changing(session))
    client.cookies.set(WITHOUT_TLS, "A" * 43)
    assert (await client.get("/session", headers={"Authorization": f"Bearer {other}"})).json()["role"] == "admin"


async def test_who_signs_in_again_leaves_no_session_behind(api: Api) -> None:
    client, _ = await signed_in(api, api.database.token(api.team, "viewer"))
    former = cookie_of(client)
    answer = await client.post("/session", json={"token": api.database.token(api.team, "editor")}, headers=PAGE)
    assert answer.json()["role"] == "editor"
    assert cookie_of(client) != former
    client.cookies.clear()
    client.cookies.set(WITHOUT_TLS, former)
    problem(await client.get("/session"), 401, "unauthenticated")


async def test_a_session_ends_with_its_token(api: Api) -> None:
    expiring, revoked = api.database.token(api.team, "viewer"), api.database.token(api.team, "viewer")
    at = "UPDATE api_tokens SET expires_at = ledger.now() + interval '1 hour' WHERE prefix = %s RETURNING expires_at"
    [(expires,)] = api.database.execute(at, (expiring.split("_")[1],))
    one, session = await signed_in(api, expiring)
    assert session["expires_at"].startswith(expires.isoformat()[:19])
    two, _ = await signed_in(api, revoked)
    shift_now(api.database, 3590)
    assert [(await each.get("/session")).status_code for each in (one, two)] == [200, 200]
    await (await api.of_role("admin")).delete(f"/tokens/{token_id(api, revoked)}")
    assert "revoked" in problem(await two.get("/session"), 401, "unauthenticated")["detail"]
    shift_now(api.database, 3601)
    assert "expired" in problem(await one.get("/session"), 401, "unauthenticated")["detail"]


async def test_use_keeps_a_session_for_a_week_and_not_longer_and_looking_is_no_use(api: Api) -> None:
    token = api.database.token(api.team, "viewer")
    hour = 3600.0
    client, _ = await signed_in(api, token)
    idle, _ = await signed_in(api, token)
    shift_now(api.database, 7 * hour)
    assert (await client.get("/session")).status_code == 200
    shift_now(api.database, 8.1 * hour)
    assert "expired" in problem(await idle.get("/session"), 401, "unauthenticated")["detail"]
    shift_now(api.database, 14 * hour)
    assert (await client.get("/session")).status_code == 200
    shift_now(api.database, 167 * hour)
    api.database.execute("UPDATE sessions SET last_used_at = ledger.now() - interval '1 hour'")
    looking = Credentials("127.0.0.1", cookie=cookie_of(client))
    last_used = "SELECT max(last_used_at) FROM sessions"
    before = api.database.execute(last_used)
    assert await api.app.state.authenticator.caller(looking, is_use=False)
    assert api.database.execute(last_used) == before
    assert (await client.get("/session")).status_code == 200
    assert api.database.execute(last_used) > before
    shift_now(api.database, 168.1 * hour)
    assert "expired" in problem(await client.get("/session"), 401, "unauthenticated")["detail"]


async def test_what_signs_nobody_in(api: Api) -> None:
    client = await browser(api)
    token = api.database.token(api.team, "viewer")
    host = api.database.token(api.team, "host", host="lab-1")
    both = {"token": token, "code": "A" * 43}
    for body, status, kind in (
        ({}, 422, "invalid-input"),
        (both, 422, "invalid-input"),
        ({"code": "A" * 43, "team": "lab"}, 422, "invalid-input"),
        ({"token": token, "team": "other"}, 403, "forbidden"),
        ({"token": token, "role": "admin"}, 422, "invalid-input"),
        ({"token": host}, 403, "forbidden"),
        ({"token": "nonsense"}, 401, "unauthenticated"),
        ({"token": "rb_00000000_" + "A" * 43}, 401, "unauthenticated"),
        ({"token": "a.b.c"}, 401, "unauthenticated"),
        ({"code": "A" * 43}, 401, "unauthenticated"),
    ):
        problem(await client.post("/session", json=body), status, kind)
    for elsewhere in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        problem(await client.post("/session", json={"token": token}, headers=elsewhere), 403, "forbidden")
    assert api.database.execute("SELECT 1 FROM sessions") == []
    problem(await client.get("/session"), 401, "unauthenticated")
    for number in range(MOST_A_MINUTE):
        # Codes are tries like tokens.
        answer = await client.post("/session", json={"code": f"{number:043}"})
    problem(answer, 429, "too-many")
    assert (await browser(api)).cookies == client.cookies
    page = await client.post(f"{OWN}/sign-in", data={"code": "B" * 43}, headers=PAGE)
    assert page.status_code == 429
    assert int(page.headers["retry-after"]) > 0


async def test_a_link_signs_in_once_and_to_look_at_it_spends_nothing(api: Api) -> None:
    code = await made_link(api, api.database.token(api.team, "viewer"))
    assert code not in str(api.database.execute("SELECT l::text FROM login_links l"))
    client = await browser(api)
    for _ in range(3):
        page = await client.get(f"{OWN}/sign-in?code={code}", headers={"Purpose": "prefetch"})
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "set-cookie" not in page.headers
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy + page.text
    assert "unsafe" not in policy
    form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
    assert form == {"code": code}
    elsewhere = await client.post(f"{OWN}/sign-in", data=form, headers={"Origin": "https://evil.example"})
    assert (elsewhere.status_code, api.database.execute("SELECT 1 FROM sessions")) == (403, [])
    assert "Nobody is signed in" in (await client.get(f"{OWN}/")).text
    done = await client.post(f"{OWN}/sign-in", data=form, headers={"Origin": OWN, "Sec-Fetch-Site": "same-origin"})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert "viewer-token" in (await client.get(f"{OWN}/")).text
    session = (await client.get("/session")).json()
    assert session["role"] == "viewer"
    # Not for somebody else, who found it in the history of the browser.
    second = await browser(api)
    again = await second.post(f"{OWN}/sign-in", data=form, headers=PAGE)
    assert (again.status_code, "used already" in again.text) == (401, True)
    problem(await second.post("/session", json={"code": code}), 401, "unauthenticated")
    # A session that could make links would never have to end.
    problem(await client.post("/login-links", headers=changing(session)), 403, "forbidden")


async def test_of_two_that_use_a_link_at_the_same_moment_one_is_let_in(api: Api) -> None:
    code = await made_link(api, api.database.token(api.team, "viewer"))
    clients = [await browser(api) for _ in range(4)]
    answers = await asyncio.gather(*(client.post("/session", json={"code": code}) for client in clients))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401]
    assert len(api.database.execute("SELECT 1 FROM sessions")) == 1


async def test_a_link_ends_with_its_ten_minutes_and_with_its_token(api: Api) -> None:
    token = api.database.token(None, "operator")
    first, late, revoked = [await made_link(api, token) for _ in range(3)]
    client = await browser(api)
    shift_now(api.database, 590)
    assert (await client.post("/session", json={"code": first})).json()["role"] == "operator"
    shift_now(api.database, 601)
    refused = problem(await client.post("/session", json={"code": late}), 401, "unauthenticated")
    assert "expired" in refused["detail"]
    shift_now(api.database, 0)
    api.database.execute("UPDATE api_tokens SET revoked_at = ledger.now() WHERE role = 'operator'")
    refused = problem(await client.post("/session", json={"code": revoked}), 401, "unauthenticated")
    assert "revoked" in refused["detail"]


async def test_what_is_no_code_is_not_shown_again(api: Api) -> None:
    client = await browser(api)
    pages = [await client.post(f"{OWN}/sign-in", content=content, headers=PAGE) for content in (b"", b"\xff=&&&&")]
    for code in ("", "short", '"><script>alert(1)</script>', "A" * 44, "%00" * 43):
        pages.append(await client.get(f"{OWN}/sign-in", params={"code": code}))
        pages.append(await client.post(f"{OWN}/sign-in", data={"code": code}, headers=PAGE))
    for page in pages:
        assert page.status_code == 400
        assert "<form" not in page.text
        assert "<script" not in page.text


async def test_open_streams_end_with_their_session(api: Api) -> None:
    editor = await api.of_role("editor")
    run = (await editor.post(f"/deployments/{(await created(editor))['id']}/run")).json()
    token = api.database.token(api.team, "viewer")
    leaving, session = await signed_in(api, token)
    staying, _ = await signed_in(api, token)
    paths = ("/events", f"/executions/{run['id']}/log?follow=true")
    # Without a socket an answer comes only when it is whole: that it comes is the end.
    left = [asyncio.create_task(leaving.get(path)) for path in paths]
    stayed = [asyncio.create_task(staying.get(path)) for path in paths]
    await until_open(api, 4)
    assert not [each for each in (*left, *stayed) if each.done()], "open as long as the session lasts"

    async def ended(tasks: list[asyncio.Task[httpx.Response]]) -> None:
        done, open_still = await asyncio.wait(tasks, timeout=10)
        assert not open_still
        assert [each.result().status_code for each in done] == [200, 200]

    await leaving.delete("/session", headers=changing(session))
    await ended(left)
    assert not [each for each in stayed if each.done()], "of another session"
    await (await api.of_role("admin")).delete(f"/tokens/{token_id(api, token)}")
    await ended(stayed)


async def test_the_database_keeps_sessions_and_links_of_teams_apart_and_their_hashes_to_itself(api: Api) -> None:
    token = api.database.token(api.team, "admin")
    await signed_in(api, token)
    await made_link(api, token)
    other = api.database.team("other")

    def seen(team: object, columns: str, table: str) -> list[Any]:
        with psycopg.connect(api.database.api_url, options="-c search_path=ledger") as connection:
            connection.execute("SELECT set_config('rigbeat.team_id', %s, true)", (str(team),))
            return connection.execute(f"SELECT {columns} FROM {table}".encode()).fetchall()

    for table in ("sessions", "login_links"):
        assert len(seen(api.team, "id", table)) == 1
        assert seen(other, "id", table) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            seen(api.team, "hash", table)
    # A month after their end they are dropped.
    shift_now(api.database, 38 * 86_400)
    await signed_in(api, token)
    assert len(api.database.execute("SELECT 1 FROM sessions")) == 1
    assert api.database.execute("SELECT 1 FROM login_links") == []
