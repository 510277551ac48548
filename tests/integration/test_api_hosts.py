"""Hosts and scripts over HTTP; enrolment needs the broker."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest
from aio_pika import Message, connect

from libs.chassis.amqp.declare import declare
from libs.contracts.topology import central, commands_queue, of_host, presence_queue, triggers_queue
from libs.stack.rabbitmq import RabbitMQ
from services.api.broker import Broker
from services.api.routes import hosts
from tests.support.api import Api, problem


async def test_hosts_come_with_their_devices(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute(
        "UPDATE devices SET lock_owner = 'ann', lock_reason = 'demo', lock_since = ledger.now() "
        "WHERE device_id = 'stb-2'"
    )
    api.database.execute("UPDATE devices SET status = 'running', labels = '{\"os\": \"x\"}' WHERE device_id = 'stb-1'")
    api.database.host("lab-0", api.team)
    api.database.execute("UPDATE hosts SET last_seen_at = last_seen_at - interval '1 minute' WHERE name = 'lab-0'")
    answer = await editor.get("/hosts")
    assert answer.status_code == 200, answer.text
    lab0, lab1 = answer.json()["items"]
    assert (lab0["name"], lab0["status"], lab0["devices"]) == ("lab-0", "offline", [])
    assert (lab1["status"], lab1["scripts"], lab1["team_id"]) == ("online", 2, str(api.team))
    stb1, stb2 = lab1["devices"]
    assert (stb1["status"], stb1["labels"], stb1["lock"]) == ("running", {"os": "x"}, None)
    assert (stb2["status"], stb2["lock"]["owner"], stb2["lock"]["since"][-1]) == ("locked", "ann", "Z")
    api.database.execute("UPDATE devices SET lock_expires_at = ledger.now() WHERE device_id = 'stb-2'")
    assert (await editor.get("/hosts")).json()["items"][1]["devices"][1]["status"] == "free"
    first = (await editor.get("/hosts", params={"limit": 1})).json()
    rest = (await editor.get("/hosts", params={"limit": 1, "cursor": first["next"]})).json()
    assert [one["items"][0]["name"] for one in (first, rest)] == ["lab-0", "lab-1"]
    assert rest["next"] is None


async def test_scripts_are_listed_by_host_and_name(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.host("lab-0", api.team, scripts=["soak.py"])
    api.database.execute(
        """UPDATE host_scripts SET parameters = '[{"name": "--limit", "required": true}]' WHERE name = 'health.py'"""
    )
    items = (await editor.get("/scripts")).json()["items"]
    assert [(one["host_name"], one["name"]) for one in items] == [
        ("lab-0", "soak.py"),
        ("lab-1", "health.py"),
        ("lab-1", "zap.py"),
    ]
    assert items[1]["parameters"] == [
        {"name": "--limit", "required": True, "default": None, "help": None, "choices": None}
    ]
    only = (await editor.get("/scripts", params={"host_name": "lab-1", "limit": 1})).json()
    rest = (await editor.get("/scripts", params={"host_name": "lab-1", "limit": 1, "cursor": only["next"]})).json()
    assert [one["name"] for one in (*only["items"], *rest["items"])] == ["health.py", "zap.py"]


async def test_without_the_broker_no_host_is_enrolled(api: Api) -> None:
    admin = await api.of_role("admin")
    problem(await admin.post("/hosts", json={"name": "lab-2"}), 503, "unavailable")
    assert api.database.execute("SELECT name FROM hosts") == [("lab-1",)]
    for name in ("Lab", "lab.2", "-lab", "", "x" * 64):
        refused = problem(await admin.post("/hosts", json={"name": name}), 422, "invalid-input")
        assert refused["errors"][0]["field"] == "name"


async def test_a_host_is_enrolled_with_queues_and_a_token_and_revoked(api: Api, rabbitmq: RabbitMQ) -> None:
    api.app.state.workroom = replace(api.app.state.workroom, amqp_url=rabbitmq.amqp_url)
    admin = await api.of_role("admin")
    async with await connect(rabbitmq.amqp_url) as broker:
        topology = central()
        await declare(broker, topology.exchanges, topology.queues, topology.bindings)
        answer = await admin.post("/hosts", json={"name": "lab-2"})
        assert answer.status_code == 201, answer.text
        channel = await broker.channel()
        for queue in (triggers_queue("lab-2"), commands_queue("lab-2"), presence_queue("lab-2")):
            await channel.declare_queue(queue, passive=True)
        problem(await admin.post("/hosts", json={"name": "lab-2"}), 409, "wrong-state")
    body = answer.json()
    assert (body["host"]["name"], body["host"]["status"]) == ("lab-2", "offline")
    given = await (await api.client(body["secret"])).post("/hosts/lab-2/credentials")
    assert (given.status_code, given.json()["amqp_url"]) == (201, None), "no management, no user of its own"
    host = await api.client(given.json()["token"])
    missing = "00000000-0000-7000-8000-000000000000"
    problem(await host.put(f"/executions/{missing}/log?offset=0", content=b""), 404, "not-found")
    revoked = await admin.delete("/hosts/lab-2")
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    assert (await admin.delete("/hosts/lab-2")).status_code == 200
    problem(await admin.delete("/hosts/lab-3"), 404, "not-found")
    problem(await host.put(f"/executions/{missing}/log?offset=0", content=b""), 401, "unauthenticated")
    actions = api.database.execute("SELECT action, actor FROM audit_log WHERE resource = 'host/lab-2' ORDER BY id")
    assert actions == [("enrol", "admin-token"), ("issue", "host lab-2"), ("revoke", "admin-token")]


def device(host: dict[str, Any], device_id: str) -> dict[str, Any]:
    [found] = [one for one in host["devices"] if one["device_id"] == device_id]
    return dict(found)


async def test_a_device_is_locked_renewed_and_given_back(api: Api) -> None:
    api.answer_commands()
    ann, boss = await api.of_role("editor"), await api.of_role("admin")
    stb = "/hosts/lab-1/devices/stb-1"
    locked = await ann.post(f"{stb}/lock", json={"reason": "new firmware", "seconds": 7200})
    assert locked.status_code == 200, locked.text
    lock = locked.json()["lock"]
    assert (locked.json()["device_id"], locked.json()["status"]) == ("stb-1", "locked")
    assert (lock["owner"], lock["reason"]) == ("editor-token", "new firmware")
    until = datetime.fromisoformat(lock["expires_at"])
    assert (until - datetime.fromisoformat(lock["since"])).total_seconds() == 7200
    assert device((await ann.get("/hosts/lab-1")).json(), "stb-1") == locked.json()

    refused = problem(await boss.post(f"{stb}/lock", json={"reason": "mine"}), 409, "wrong-state")
    assert refused["detail"] == f"stb-1 is locked by editor-token until {lock['expires_at']}: new firmware"
    renewed = (await ann.post(f"{stb}/lock", json={"reason": "more of it", "seconds": None})).json()["lock"]
    assert (renewed["since"], renewed["reason"], renewed["expires_at"]) == (lock["since"], "more of it", None)

    exact = lock["expires_at"]
    assert (await ann.post(f"{stb}/lock", json={"reason": "x", "expires_at": exact})).json()["lock"][
        "expires_at"
    ] == exact

    given_back = await ann.post(f"{stb}/unlock")
    assert (given_back.status_code, given_back.json()["status"], given_back.json()["lock"]) == (200, "free", None)
    assert (await ann.post(f"{stb}/unlock")).status_code == 200  # nothing to do
    commands = [(kind, body["lock_version"], body.get("owner")) for kind, body in api.outbox()]
    assert commands == [
        ("command.lock.v1", 1, "editor-token"),
        ("command.lock.v1", 2, "editor-token"),
        ("command.lock.v1", 3, "editor-token"),
        ("command.unlock.v1", 4, None),
    ]
    audit = api.database.execute("SELECT action, resource, actor FROM audit_log ORDER BY id")
    assert audit == [(action, "device/lab-1/stb-1", "editor-token") for action in ("lock", "lock", "lock", "unlock")]


async def test_only_the_owner_or_an_admin_unlocks_and_an_expired_lock_is_none(api: Api) -> None:
    api.answer_commands()
    boss = await api.of_role("admin")
    stb = "/hosts/lab-1/devices/stb-1"
    api.database.execute(
        "UPDATE devices SET status = 'locked', lock_owner = 'ann', lock_since = ledger.now(), lock_version = 7,"
        " lock_reason = '' WHERE device_id = 'stb-1'"
    )
    editor = await api.of_role("editor")
    assert (
        "locked by ann until it is unlocked" in problem(await editor.post(f"{stb}/unlock"), 403, "forbidden")["detail"]
    )
    problem(await (await api.of_role("viewer")).post(f"{stb}/unlock"), 403, "forbidden")
    assert (await boss.post(f"{stb}/unlock")).json()["status"] == "free"
    api.database.execute(
        "UPDATE devices SET lock_owner = 'ann', lock_since = ledger.now(), lock_expires_at = ledger.now()"
        " WHERE device_id = 'stb-1'"
    )
    assert device((await boss.get("/hosts/lab-1")).json(), "stb-1")["lock"] is None
    taken = await editor.post(f"{stb}/lock", json={"reason": "free again"})
    assert taken.json()["lock"]["owner"] == "editor-token"
    # What runs goes on, and is shown so.
    api.database.execute("UPDATE devices SET status = 'running' WHERE device_id = 'stb-1'")
    shown = device((await boss.get("/hosts/lab-1")).json(), "stb-1")
    assert (shown["status"], shown["lock"]["owner"]) == ("running", "editor-token")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": "a\u001bb"}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"reason": "x", "seconds": 0}, "seconds"),
        ({"reason": "x", "seconds": 30 * 86_400 + 1}, "seconds"),
        ({"reason": "x", "seconds": "60"}, "seconds"),
        ({"reason": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"reason": "x", "expires_at": "8000-01-01T00:00:00Z"}, "expires_at"),
        ({"reason": "x", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"reason": "x", "expires_at": "2027-01-01T00:00:00Z", "seconds": 60}, "$"),
        ({"reason": "x", "seconds": 1.5}, "seconds"),
        ({"reason": "x", "owner": "ann"}, "owner"),
    ],
)
async def test_a_lock_is_well_said(editor: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    refused = problem(await editor.post("/hosts/lab-1/devices/stb-1/lock", json=body), 422, "invalid-input")
    assert refused["errors"][0]["field"] == field


async def test_where_nothing_can_be_locked(api: Api, editor: httpx.AsyncClient) -> None:
    stranger = await api.of_role("admin", api.database.team("other"))
    body = {"reason": "x"}
    for client, path in (
        (editor, "/hosts/lab-9/devices/stb-1"),
        (editor, "/hosts/lab-1/devices/stb-9"),
        (editor, "/hosts/lab-1/devices/..%2fstb-1"),
        (editor, "/hosts/lab-1/devices/stb-1%00"),
        (editor, "/hosts/%00/devices/stb-1"),
        (editor, f"/hosts/lab-1/devices/{'x' * 300}"),
        (stranger, "/hosts/lab-1/devices/stb-1"),
    ):
        problem(await client.post(f"{path}/lock", json=body), 404, "not-found")
        problem(await client.post(f"{path}/unlock"), 404, "not-found")
    for name in ("%00", "x" * 300, "lab-9", "%1b[2J"):
        problem(await editor.get(f"/hosts/{name}"), 404, "not-found")
    api.database.execute("UPDATE hosts SET revoked_at = ledger.now()")
    problem(await editor.post("/hosts/lab-1/devices/stb-1/lock", json=body), 409, "wrong-state")
    assert api.outbox() == []


async def test_a_lock_waits_for_a_host_that_is_there_and_for_no_other(
    api: Api, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stb = "/hosts/lab-1/devices/stb-1"
    api.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 minute'")
    with monkeypatch.context() as patched:
        # Whoever waited would wait for so long that a slow machine is told apart from it.
        patched.setattr(hosts, "WAIT_SECONDS", 20.0)
        began = time.monotonic()
        away = await editor.post(f"{stb}/lock", json={"reason": "x"})
        assert time.monotonic() - began < 10
    assert (away.json()["status"], away.json()["lock"]["owner"]) == ("offline", "editor-token")
    api.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    began = time.monotonic()
    assert (await editor.post(f"{stb}/unlock")).status_code == 200
    assert 1.9 < time.monotonic() - began < 5


async def test_nobody_is_offline_while_nobody_listens(api: Api, editor: httpx.AsyncClient) -> None:
    """Heartbeats are read until `liveness` says; what was known then is shown until they are read again."""

    async def status() -> object:
        return (await editor.get("/hosts/lab-1")).json()["status"]

    seen = "UPDATE hosts SET last_seen_at = ledger.now() - make_interval(secs => %s)"
    heard = (
        "INSERT INTO liveness (name, at) VALUES ('presence', ledger.now() - make_interval(secs => %s))"
        " ON CONFLICT (name) DO UPDATE SET at = excluded.at"
    )
    for last_word, listened, shown in ((60, 0, "offline"), (60, 40, "online"), (80, 40, "offline"), (5, 300, "online")):
        api.database.execute(seen, (last_word,))
        api.database.execute(heard, (listened,))
        assert await status() == shown, (last_word, listened)


async def test_queues_are_shown_as_the_broker_has_them(api: Api, editor: httpx.AsyncClient, rabbitmq: RabbitMQ) -> None:
    nothing = {"triggers": None, "commands": None, "consumers": None}
    assert (await editor.get("/hosts")).json()["items"][0]["queues"] == nothing
    problem(await editor.get("/broker"), 503, "unavailable")
    api.database.host("lab-8", api.team)
    queues = Broker(rabbitmq.amqp_url, time.monotonic)
    api.app.state.workroom = replace(api.app.state.workroom, broker=queues)
    async with await connect(rabbitmq.amqp_url) as broker:
        for topology in (central(), of_host("lab-1")):
            await declare(broker, topology.exchanges, topology.queues, topology.bindings)
        channel = await broker.channel()
        await channel.default_exchange.publish(Message(b"{}"), routing_key=commands_queue("lab-1"))
        try:
            shown = (await editor.get("/broker")).json()
            assert shown["hosts"] == [
                {"name": "lab-1", "triggers": 0, "commands": 1, "consumers": 0},
                {"name": "lab-8", "triggers": None, "commands": None, "consumers": None},
            ]
            assert (shown["results_consumers"], shown["dead_letters"], shown["dead_letters_open"]) == (0, 0, 0)
            listed = (await editor.get("/hosts")).json()["items"]
            assert [host["queues"]["commands"] for host in listed] == [1, None]
            stranger = await api.of_role("viewer", api.database.team("other"))
            assert (await stranger.get("/broker")).json()["hosts"] == []
        finally:
            await queues.close()
            for queue in of_host("lab-1").queues:
                await channel.queue_delete(queue.name)


async def test_a_lock_on_a_shared_host_is_one_teams_though_both_have_a_token_of_that_name(api: Api) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    friends = api.database.team("friends")
    api.database.execute("UPDATE hosts SET shared_teams = ARRAY[%s::uuid]", (friends,))
    ours, theirs = await api.of_role("editor"), await api.of_role("editor", friends)
    stb = "/hosts/lab-1/devices/stb-1"
    assert (await theirs.post(f"{stb}/lock", json={"reason": "theirs"})).status_code == 200
    problem(await ours.post(f"{stb}/lock", json={"reason": "ours"}), 409, "wrong-state")
    problem(await ours.post(f"{stb}/unlock"), 403, "forbidden")
    # The host is ours, so its admin may; an admin of a team that only shares it may not take ours away.
    assert (await (await api.of_role("admin")).post(f"{stb}/unlock")).json()["lock"] is None
    assert (await ours.post(f"{stb}/lock", json={"reason": "ours"})).status_code == 200
    problem(await (await api.of_role("admin", friends)).post(f"{stb}/unlock"), 403, "forbidden")
