"""Hosts and scripts over HTTP; enrolment needs the broker."""

from __future__ import annotations

from dataclasses import replace

import httpx
from aio_pika import connect

from libs.chassis.amqp.declare import declare
from libs.contracts.topology import central, commands_queue, presence_queue, triggers_queue
from libs.stack.rabbitmq import RabbitMQ
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
    host = await api.client(body["secret"])
    missing = "00000000-0000-7000-8000-000000000000"
    problem(await host.put(f"/executions/{missing}/log?offset=0", content=b""), 404, "not-found")
    revoked = await admin.delete("/hosts/lab-2")
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    assert (await admin.delete("/hosts/lab-2")).status_code == 200
    problem(await admin.delete("/hosts/lab-3"), 404, "not-found")
    actions = api.database.execute("SELECT action, resource FROM audit_log ORDER BY id LIMIT 2")
    assert actions == [("enrol", "host/lab-2"), ("revoke", "host/lab-2")]
