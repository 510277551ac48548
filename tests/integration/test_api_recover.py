"""`POST /recover` on a real ledger; the test plays the hosts' answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from libs.contracts import Resend, Sync, decode
from libs.ledger.pool import connect
from services.api.recovery import HostState, may_fire_on
from tests.support.api import Api, created, problem
from tests.support.ledger import shift_now

TEAM = UUID(int=1)


@pytest.fixture
async def operator(api: Api) -> httpx.AsyncClient:
    api.database.host("lab-2", api.team)
    api.database.host("gone", api.team)
    api.database.execute("UPDATE hosts SET last_seen_at = NULL WHERE name = 'lab-2'")
    api.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = 'gone'")
    return await api.of_role("operator")


async def recover(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/recover", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def answered(api: Api, host: str) -> None:
    """The host's answers were folded."""
    api.database.execute("UPDATE outbox SET applied_at = ledger.now() WHERE host_name = %s", (host,))


async def test_it_holds_firing_asks_every_host_and_fires_on_when_they_have_answered(
    api: Api, editor: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    made = await created(editor)
    await editor.post(f"/deployments/{made['id']}/pause")
    api.database.execute("DELETE FROM outbox")
    begun = await recover(operator)
    assert begun["firing"] is False
    # Minutes since 1970, so that an epoch that a host has seen is never used again.
    assert begun["ledger_epoch"] > 29_000_000
    assert begun["held_at"] is not None
    assert begun["hosts"] == [
        {"name": "lab-1", "status": "online", "answered": False},
        {"name": "lab-2", "status": "offline", "answered": False},
    ]
    assert api.database.execute("SELECT firing, ledger_epoch FROM epoch") == [(False, begun["ledger_epoch"])]
    sent = api.database.execute("SELECT host_name, type, body FROM outbox ORDER BY id")
    assert [(host, kind) for host, kind, _ in sent] == [
        ("lab-1", Sync.type),
        ("lab-1", Resend.type),
        ("lab-2", Sync.type),
        ("lab-2", Resend.type),
    ]
    sync = decode(Sync.type, sent[0][2].encode())
    assert isinstance(sync, Sync)
    assert sync.ledger_epoch == begun["ledger_epoch"]
    assert [(each.ledger_epoch, str(each.reason)) for each in sync.fences] == [(sync.ledger_epoch, "paused")]
    problem(await editor.post(f"/deployments/{made['id']}/run"), 503, "unavailable")

    # Called again, also by somebody who knows nothing of the first call: it goes on, nothing is sent twice.
    again = await recover(operator)
    assert (again["ledger_epoch"], again["firing"]) == (begun["ledger_epoch"], False)
    assert api.database.execute("SELECT count(*) FROM outbox") == [(4,)]
    answered(api, "lab-1")
    waiting = await recover(operator, ledger_epoch=begun["ledger_epoch"])
    assert [host["answered"] for host in waiting["hosts"]] == [True, False]
    assert waiting["firing"] is False
    answered(api, "lab-2")
    ended = await recover(operator, ledger_epoch=begun["ledger_epoch"])
    assert (ended["firing"], ended["held_at"]) == (True, None)
    assert api.database.execute("SELECT firing, held_at FROM epoch") == [(True, None)]
    assert (await editor.post(f"/deployments/{made['id']}/run")).status_code == 202

    # Its end is told as often as it is asked for by its epoch.
    assert (await recover(operator, ledger_epoch=begun["ledger_epoch"]))["firing"] is True
    assert api.database.execute("SELECT ledger_epoch FROM epoch") == [(begun["ledger_epoch"],)]
    audit = api.database.execute(
        "SELECT actor, action, resource, detail FROM audit_log WHERE resource LIKE 'ledger/%%' ORDER BY id"
    )
    epoch = f"ledger/epoch/{begun['ledger_epoch']}"
    assert audit == [
        ("operator-token", "recover", epoch, {"hosts": ["lab-1", "lab-2"]}),
        ("operator-token", "fire_on", epoch, {"answered": ["lab-1", "lab-2"], "silent": []}),
    ]
    assert api.database.execute("SELECT count(*) FROM change_feed WHERE kind = 'reset' AND team_id IS NULL") == [(2,)]
    # A second restore within the same minute gets an epoch of its own.
    assert (await recover(operator))["ledger_epoch"] > begun["ledger_epoch"]


async def test_after_its_time_it_fires_on_without_who_is_silent(api: Api, operator: httpx.AsyncClient) -> None:
    begun = await recover(operator, wait_seconds=30)
    shift_now(api.database, 15)
    assert (await recover(operator, ledger_epoch=begun["ledger_epoch"]))["firing"] is False
    shift_now(api.database, 31)
    ended = await recover(operator, ledger_epoch=begun["ledger_epoch"])
    assert ended["firing"] is True
    assert [host["answered"] for host in ended["hosts"]] == [False, False]
    # They were asked all the same: what they say when they are back counts.
    assert api.database.execute("SELECT count(*) FROM outbox WHERE type = %s", (Resend.type,)) == [(2,)]


async def test_only_an_operator_recovers_and_only_with_sense(api: Api, operator: httpx.AsyncClient) -> None:
    admin = await api.of_role("admin")
    problem(await admin.post("/recover", json={}), 403, "forbidden")
    problem(await operator.post("/recover", json={"wait_seconds": -1}), 422, "invalid-input")
    problem(await operator.post("/recover", json={"waits": 1}), 422, "invalid-input")
    connection = await connect(api.database.api_url, application="test")
    try:
        for function in ("hold_firing()", "fire_on(1)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SELECT ledger.{function}")
    finally:
        await connection.close()
    assert api.database.execute("SELECT firing, ledger_epoch FROM epoch") == [(True, 1)]


def host(*, online: bool, answered: bool) -> HostState:
    return HostState("h", TEAM, online, answered)


@pytest.mark.parametrize(
    ("hosts", "held_seconds", "wanted"),
    [
        ((), 0, True),
        ((host(online=True, answered=True),), 0, True),
        ((host(online=True, answered=False),), 29, False),
        ((host(online=True, answered=False),), 30, True),
        # A heartbeat may still come in the first seconds; then nobody waits for who is away.
        ((host(online=False, answered=False), host(online=True, answered=True)), 14, False),
        ((host(online=False, answered=False), host(online=True, answered=True)), 15, True),
    ],
)
def test_for_whom_it_waits(hosts: tuple[HostState, ...], held_seconds: float, *, wanted: bool) -> None:
    assert may_fire_on(hosts, held_for=timedelta(seconds=held_seconds), wait_seconds=30) is wanted
