"""What is held back for catch-up and was never sent: ended by a change or a cancel, without asking the host."""

from __future__ import annotations

import httpx

from libs.contracts import SENTENCES, Reason
from tests.support.api import Api, created, problem
from tests.support.ledger import begin_early_in_a_minute, shift_now


async def with_held(api: Api, editor: httpx.AsyncClient, **fields: object) -> str:
    """A deployment of which one fire was released and two are held."""
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    begin_early_in_a_minute(api.database)
    made = await created(editor, cron_expression="* * * * *", catch_up="all", **fields)
    shift_now(api.database, 180)
    edited = await editor.patch(f"/deployments/{made['id']}", json={"cron_expression": "0 0 1 1 *"})
    assert edited.status_code == 200, edited.text
    identity = str(made["id"])
    api.database.execute(
        "UPDATE deployment_executions SET held = false WHERE id = "
        "(SELECT id FROM deployment_executions WHERE deployment_id = %s ORDER BY id LIMIT 1)",
        (identity,),
    )
    assert held(api, identity) == 2
    assert api.outbox() == [], "what is held is not sent"
    return identity


def held(api: Api, deployment: str) -> int:
    statement = "SELECT count(*)::integer FROM deployment_executions WHERE held AND deployment_id = %s"
    ((count,),) = api.database.execute(statement, (deployment,))
    return int(count)


def ends(api: Api, deployment: str) -> list[tuple[str, str | None, str | None]]:
    return api.database.execute(
        "SELECT status, reason, skip_reason FROM deployment_executions WHERE deployment_id = %s ORDER BY id",
        (deployment,),
    )


async def test_a_fence_drops_what_is_held(api: Api, editor: httpx.AsyncClient) -> None:
    for method, path, reason in (
        ("POST", "/pause", Reason.PAUSED),
        ("POST", "/stop", Reason.STOPPED),
        ("DELETE", "", Reason.DELETED),
    ):
        identity = await with_held(api, editor)
        assert (await editor.request(method, f"/deployments/{identity}{path}")).is_success
        assert ends(api, identity) == [("triggered", None, None)] + [("skipped", reason, SENTENCES[reason])] * 2
        assert [body["reason"] for _, body in api.outbox()] == [reason]
        api.database.execute("DELETE FROM outbox")


async def test_a_lower_limit_drops_what_is_held_before_the_host_is_asked(api: Api, editor: httpx.AsyncClient) -> None:
    identity = await with_held(api, editor, max_executions=9)
    path = f"/deployments/{identity}"
    assert (await editor.patch(path, json={"max_executions": 3})).is_success
    assert held(api, identity) == 2, "all three may still run"
    assert (await editor.patch(path, json={"max_executions": 2})).is_success
    assert [reason for _, reason, _ in ends(api, identity)] == [None, None, Reason.LIMIT_REACHED], "the newest goes"
    assert held(api, identity) == 1, "two may still run"
    assert (await editor.patch(path, json={"max_executions": 1})).is_success
    reached = Reason.LIMIT_REACHED
    assert ends(api, identity) == [("triggered", None, None)] + [("skipped", reached, SENTENCES[reached])] * 2
    assert api.outbox() == [], "the one that was sent may still run: nothing to take from the host"


async def test_a_held_one_is_cancelled_at_once(api: Api, editor: httpx.AsyncClient) -> None:
    identity = await with_held(api, editor)
    ((last,),) = api.database.execute("SELECT id FROM deployment_executions WHERE held ORDER BY id DESC LIMIT 1")
    answer = await editor.post(f"/executions/{last}/cancel")
    assert answer.status_code == 202
    body = answer.json()
    sentence = SENTENCES[Reason.CANCELLED_BY_USER]
    assert (body["status"], body["reason"], body["message"]) == ("cancelled", "cancelled_by_user", sentence)
    assert body["completed_at"] is not None
    assert (held(api, identity), api.outbox()) == (1, [])
    problem(await editor.post(f"/executions/{last}/cancel"), 409, "wrong-state")
    (detail,) = api.database.execute("SELECT detail FROM audit_log WHERE action = 'cancel'")
    assert detail == ({"status": "triggered", "held": True},)
