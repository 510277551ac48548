"""The walk: every route of the API, by everybody who may come to it.

A lab has one of everything. Whoever has no valid token, too small a role or the wrong kind of it, or belongs to another
team, walks all routes: each refusal is the right one, no answer shows anything of the lab, and nothing of it has
changed in the end. Then each role that may walks them, too, and is let in everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import httpx
import pytest

from libs.ledger.pool import Connection
from services.api.access import Access, access
from services.api.app import PREFIX
from services.api.auth import Caller, Role, speak_for_all
from services.api.core.former_clients import is_theirs
from services.api.failed_tries import FailedTries
from tests.support.api import AT_STB_1, EVERY_TEN, Api, created, open_streams, problem, refused
from tests.support.ingest import trigger_message
from tests.support.wait import until_async

_SPACE = UUID(int=9)
ANSWER_SECONDS = 20.0

MARK = "zebra"
"""In everything of the lab that has a text of its own."""

TABLES = (
    *("hosts", "devices", "host_scripts", "deployments", "deployment_versions", "deployment_executions", "outbox"),
    *("dead_letters", "script_results", "backlogs", "artifacts", "retention", "retention_next"),
    *("enrolments", "host_credentials", "teams"),
)

OF_THE_TEAM = {
    "api_tokens": "id, name, role, expires_at, revoked_at",
    "sessions": "id, expires_at, ended_at",
    "login_links": "id, used_at",
    "audit_log": "id, actor, action, resource",
}
"""Of these the lab's own alone: another team may make some of its own, and using a token is written down."""

BODIES: dict[str, Any] = {
    "POST /cron/preview": {
        "cron_expression": "* * * * *",
        "script_name": "health.py",
        "targets": [{**AT_STB_1, "userinterface_name": ""}],
    },
    "POST /deployments": {**EVERY_TEN, **AT_STB_1},
    "POST /deployments/bulk": {"ids": ["{deployment_id}"], "action": "pause"},
    "PATCH /deployments/{deployment_id}": {"parameters": "--new"},
    "POST /deployments/{deployment_id}/copy": {"device_id": "stb-2"},
    "PATCH /hosts/{name}": {"shared_teams": []},
    "POST /hosts": {"name": "lab-9"},
    "POST /hosts/{name}/devices/{device_id}/lock": {"reason": "new firmware"},
    "POST /recover": {},
    "PUT /retention/{kind}": {"keep_days": 90},
    "POST /server/deployment/create": {**EVERY_TEN, **AT_STB_1},
    "PATCH /server/deployment/update/{deployment_id}": {"parameters": "--new"},
    "POST /server/deployment/update/{deployment_id}": {"parameters": "--new"},
    "PUT /server/deployment/update/{deployment_id}": {"parameters": "--new"},
    "POST /teams": {"name": "{fresh}"},
    "POST /tokens": {"name": "new", "role": "viewer"},
    "POST /verify": {},
}
UPLOADS = {
    "PUT /executions/{execution_id}/log": "?offset=0",
    "PUT /executions/{execution_id}/artifacts/{name:path}": "",
}
NO_BROKER = {"POST /hosts", "GET /broker"}
"""Let in, and then told that the broker is away: there is none here."""

MAY_SUCCEED_ELSEWHERE = {
    *("GET /server/deployment/list", "GET /server/deployment/executions/recent", "GET /server/script/list"),
    *("GET /broker", "GET /cron/presets", "POST /cron/preview", "POST /deployments/bulk", "POST /hosts"),
    *("GET /audit", "GET /teams", "GET /tokens", "POST /tokens", "GET /session", "POST /login-links"),
    *("GET /deployments", "GET /executions", "GET /hosts", "GET /scripts", "GET /dead-letters", "GET /events"),
}
"""Routes that name nothing of the lab: another team is let in, and sees its own."""

BY_NAME = {"POST /hosts/{name}/credentials"}
"""Refused by the name in the path, whether there is such a host or not."""

NO_SESSION = "DELETE /session"
"""Let in, and then told that a token is no session."""
NOT_NEWEST = "POST /hosts/{name}/credentials/taken"
"""Let in, and then told that the host was given others since: by the walk, a route before."""


@dataclass
class World:
    """One of everything that a lab has, by the names of the paths' parameters."""

    api: Api
    host: httpx.AsyncClient
    editor: httpx.AsyncClient
    names: dict[str, str] = field(default_factory=dict)
    number: int = 0

    async def renew(self) -> None:
        """Make all of it anew: what was made before may be changed by now."""
        self.number += 1
        api, number = self.api, self.number
        made = await created(self.editor, name=f"{MARK}-{number}", parameters=f"--{MARK}")
        run = (await self.editor.post(f"/deployments/{made['id']}/run", json={"reason": MARK})).json()
        await self.host.put(f"/executions/{run['id']}/log?offset=0", content=MARK.encode())
        await self.host.put(f"/executions/{run['id']}/artifacts/report.html", content=MARK.encode())
        letter = UUID(int=number << 80 | 7 << 76 | 2 << 62)
        died = trigger_message(uuid5(_SPACE, str(number)), UUID(made["id"]))
        api.database.execute(
            "INSERT INTO dead_letters (id, queue, reason, type, host_name, team_id, body, body_size) "
            "VALUES (%s, %s, %s, 'trigger.v1', 'lab-1', %s, %s, 1)",
            (letter, "host.lab-1.triggers", MARK, api.team, died.model_dump_json().encode()),
        )
        api.database.token(api.team, "viewer")
        [(token,)] = api.database.execute("SELECT id FROM api_tokens ORDER BY id DESC LIMIT 1")
        api.database.execute("UPDATE devices SET lock_owner = NULL")
        host = f"{MARK}-{number}"
        api.database.host(host, api.team, ["stb-1"])
        api.database.execute("UPDATE hosts SET last_seen_at = NULL")
        api.database.execute(
            "INSERT INTO host_credentials (host_name, broker_user, broker_password_hash, token_id, issued_at) "
            "VALUES (%s, %s, %s, %s, ledger.now())",
            (host, f"host.{host}", MARK, token),
        )
        self.names = {
            "deployment_id": made["id"],
            "execution_id": run["id"],
            "letter_id": str(letter),
            "token_id": str(token),
            "name:path": "report.html",
            "device_id": "stb-1",
            "name": host,
            "kind": "logs",
            "fresh": f"team-{number}",
        }

    def filled(self, value: Any) -> Any:
        """A body or a path with the lab's own ids."""
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if isinstance(value, str):
            for name, text in self.names.items():
                value = value.replace(f"{{{name}}}", text)
        return value

    async def ask(self, client: httpx.AsyncClient, route: str) -> httpx.Response | None:
        """The answer; None for one that stays open."""
        method, path = self.filled(route).split()
        path = f"http://api{path}" if is_theirs(path) else path
        how: dict[str, Any] = {"json": self.filled(BODIES[route])} if route in BODIES else {}
        if route in UPLOADS:
            path, how = path + UPLOADS[route], {"content": MARK.encode()}
        asked = asyncio.create_task(client.request(method, path, **how))
        if route == "GET /events":

            async def is_told_or_stays() -> bool:
                return asked.done() or open_streams(self.api) > 0

            await until_async(is_told_or_stays, within=ANSWER_SECONDS, what="it is let in, or told that it is not")
            if not asked.done():
                asked.cancel()
                with suppress(asyncio.CancelledError):
                    await asked
                return None
        return await asyncio.wait_for(asked, ANSWER_SECONDS)

    def state(self) -> list[Any]:
        """All rows of the lab's tables."""
        of_lab = [
            f"SELECT ({columns})::text FROM {table} WHERE team_id = '{self.api.team}'"
            for table, columns in OF_THE_TEAM.items()
        ]
        everything = [f"SELECT t::text FROM {table} t" for table in TABLES]
        return [
            (asked, sorted(map(str, self.api.database.execute(asked.replace("%", "%%")))))
            for asked in everything + of_lab
        ]

    def marks(self) -> list[str]:
        """What an answer to somebody else must not hold."""
        told = ("deployment_id", "execution_id", "letter_id", "token_id")
        return [MARK, *(self.names[name] for name in told)]


@pytest.fixture
async def world(api: Api, editor: httpx.AsyncClient) -> World:
    api.app.state.authenticator._failures = FailedTries(10_000)
    made = World(api, await api.of_role("host", host="lab-1"), editor)
    await made.renew()
    return made


def routes(api: Api) -> Iterator[tuple[str, Access]]:
    """Each route that asks for a token, as `METHOD path`, beneath the prefix where it has it."""
    for one in access(api.app):
        if one.role is not None:
            yield f"{one.method} {one.path.removeprefix(PREFIX)}", one


def turned_away(answer: httpx.Response, status: int, kind: str) -> None:
    """The answer is this refusal, in the words of its path."""
    if is_theirs(answer.request.url.path):
        refused(answer, status)
    else:
        problem(answer, status, kind)


def hides(answer: httpx.Response | None, world: World, route: str) -> None:
    """Nothing of the lab is in the answer, but what the question named."""
    if answer is None:
        return
    asked = str(answer.request.url) + answer.request.content.decode() if route not in UPLOADS else str(answer.url)
    for mark in world.marks():
        if mark not in asked:
            assert mark not in answer.text, (route, answer.text)


async def test_every_route_asks_for_a_token_but_the_signs_of_life(api: Api) -> None:
    free = {one.path for one in access(api.app) if one.role is None}
    assert free == {"/livez", "/readyz", "/metrics", "/", "/sign-in", "/docs", "/openapi.json", f"{PREFIX}/session"}
    assert [one.method for one in access(api.app) if one.role is None and one.path == f"{PREFIX}/session"] == ["POST"]
    assert len(list(routes(api))) > 40


async def test_who_has_no_valid_token_is_let_in_nowhere(api: Api, world: World) -> None:
    before = world.state()
    ended = {
        "no token": None,
        "nonsense": "nonsense",
        "unknown": "rb_00000000_" + "A" * 43,
        "expired": api.database.token(api.team, "admin"),
        "revoked": api.database.token(api.team, "admin"),
        "of a revoked host": api.database.token(api.team, "host", host=world.names["name"]),
    }
    api.database.execute(
        "UPDATE api_tokens SET expires_at = ledger.now() WHERE prefix = %s", (str(ended["expired"]).split("_")[1],)
    )
    api.database.execute(
        "UPDATE api_tokens SET revoked_at = ledger.now() WHERE prefix = %s", (str(ended["revoked"]).split("_")[1],)
    )
    api.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = %s", (world.names["name"],))
    before = world.state()
    for who, token in ended.items():
        client = await api.client(token)
        for route, _ in routes(api):
            answer = await world.ask(client, route)
            assert answer is not None, (who, route)
            turned_away(answer, 401, "unauthenticated")
            hides(answer, world, route)
    assert world.state() == before


async def test_a_role_that_is_not_enough_is_refused_everywhere_it_is_not(api: Api, world: World) -> None:
    clients = {role: await api.of_role(role, host="lab-1" if role is Role.HOST else None) for role in Role}
    before = world.state()
    count = 0
    for role, client in clients.items():
        for route, one in routes(api):
            if not one.may(role):
                answer = await world.ask(client, route)
                assert answer is not None, (role, route)
                turned_away(answer, 403, "forbidden")
                hides(answer, world, route)
                count += 1
    assert count > 100
    assert world.state() == before


async def test_another_team_sees_nothing_and_changes_nothing_wherever_it_is_let_in(api: Api, world: World) -> None:
    await walk_of_another_team(api, world)


async def test_nor_does_it_when_every_filter_of_every_route_is_forgotten(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row level security is the last wall. Not of the stream: its reader sees all teams."""
    monkeypatch.setattr(Caller, "only_team", None)
    await walk_of_another_team(api, world, but=["GET /events"])


async def test_the_filters_alone_are_no_wall(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test before this one can fail: without filters and without the wall, it all shows."""

    async def see_all(connection: Connection, _caller: Caller) -> None:
        await speak_for_all(connection)

    monkeypatch.setattr(Caller, "only_team", None)
    monkeypatch.setattr("services.api.transactions.speak_for", see_all)
    with pytest.raises(AssertionError, match=r"(GET|POST) /"):
        await walk_of_another_team(api, world, but=["GET /events"])


async def walk_of_another_team(api: Api, world: World, but: Sequence[str] = ()) -> None:
    other = api.database.team("other")
    api.database.host("other-1", other, ["stb-1"])
    before = world.state()
    for role in (Role.VIEWER, Role.EDITOR, Role.ADMIN, Role.HOST):
        client = await api.of_role(role, other, host="other-1" if role is Role.HOST else None)
        for route, one in routes(api):
            if not one.may(role) or route in but:
                continue
            answer = await world.ask(client, route)
            hides(answer, world, route)
            if route in MAY_SUCCEED_ELSEWHERE:
                assert answer is None or answer.is_success or (route in NO_BROKER and answer.status_code == 503), route
            else:
                assert answer is not None, route
                may = {409} if route == NO_SESSION else {403} if route in BY_NAME else {404, 422}
                assert answer.status_code in may, (role, route, answer.text)
    assert world.state() == before


async def test_a_cookie_alone_changes_nothing_whatever_the_route(api: Api, world: World) -> None:
    client = await api.client(None)
    await client.post("/session", json={"token": api.database.token(api.team, "operator")})
    before = world.state()
    asked = 0
    for route, one in routes(api):
        if one.method != "GET":
            answer = await world.ask(client, route)
            assert answer is not None
            # What only a host may do asks for its token, and for nothing else.
            is_of_hosts = one.role is Role.HOST and answer.status_code == 401
            turned_away(answer, *((401, "unauthenticated") if is_of_hosts else (403, "forbidden")))
            asked += 1
    assert asked > 20
    assert world.state() == before
    assert (await client.get("/session")).status_code == 200, "nobody signed it out"


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_that_is_enough_is_let_in_everywhere(api: Api, world: World, role: Role) -> None:
    client = await api.of_role(role, host="lab-1" if role is Role.HOST else None)
    for route, one in routes(api):
        if not one.may(role):
            continue
        await world.renew()
        if role is Role.HOST:
            world.names["name"] = "lab-1"
        if "/resume" in route:
            await world.editor.post(f"/deployments/{world.names['deployment_id']}/pause")
        answer = await world.ask(client, route)
        if route in NO_BROKER:
            assert answer is not None
            assert answer.status_code in {200, 503}, (route, answer.text)
        elif route in {NO_SESSION, NOT_NEWEST}:
            problem(answer, 409, "wrong-state")  # type: ignore[arg-type]  # neither stays open
        else:
            assert answer is None or answer.status_code < 400, (route, answer.text)
        if route == "POST /recover":
            api.database.execute("UPDATE epoch SET firing = true")
