"""Messages that come several times, in another order, late, that are poison, or too large."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from libs.chassis.amqp.message import Outgoing
from libs.contracts.topology import RESULTS, TRIGGERS
from tests.chaos import rabbit
from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.faults.orders import Action
from tests.support.wait import until, until_after

LIVES_SECONDS = 15
"""A trigger that is to expire in its queue."""


@row("messages:mangled", "every message one to five times, in another order, some of it seconds late", "I1 to I7")
def mangled(scene: Scene) -> None:
    scene.traffic()
    switch = scene.stage.faults / "mangle"
    switch.write_text(str(scene.rng.randrange(1_000_000)))
    try:
        for number in range(5):
            scene.fire()
            run = scene.run(scene.rng.choice(["skips", "waits", "slow", "far"]))
            if number % 2:
                scene.stage.call_patiently("POST", f"/executions/{run['id']}/cancel", may_refuse=True)
        until_after(4)
    finally:
        switch.unlink()
    until_after(4)
    scene.fire()


@row("messages:again-later", "every trigger and every event once more, minutes later, all at once", "I4, I6")
def again_later(scene: Scene) -> None:
    scene.traffic()
    scene.fire(3)
    until_after(3)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ids = list(scene.deployed.values())
    sent = scene.stage.sql(
        "SELECT o.message_id::text, o.type, o.exchange, o.host_name, o.body FROM outbox o"
        " JOIN deployment_executions e ON e.id = o.execution_id WHERE e.deployment_id = ANY (%s::uuid[])",
        ids,
    )
    messages = [
        Outgoing(exchange, host, body.encode(), identity, kind, identity, "chaos", at)
        for identity, kind, exchange, host, body in sent
    ]
    for host in ("lab-1", "lab-2"):
        with scene.journal(host) as journal:
            rows = journal.execute(
                "SELECT message_id, type, routing_key, execution_id, body FROM events ORDER BY sequence DESC LIMIT 300"
            ).fetchall()
        messages += [
            Outgoing(RESULTS, key, body, identity, kind, execution, "chaos", at)
            for identity, kind, key, execution, body in rows
        ]
    scene.rng.shuffle(messages)
    receipts = rabbit.publish_all(scene.stage.rabbitmq, messages)
    scene.notes.append(f"{len(messages)} sent again")
    assert set(receipts) == {"confirmed"}
    scene.fire(2)


@row("messages:poison", "what nobody can read, in every queue, and 10 MB of it", "I1, I7")
def poison(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    broker = scene.stage.rabbitmq
    [(before,)] = scene.stage.sql("SELECT count(*) FROM dead_letters")
    huge = json.dumps({"padding": "x" * 10_000_000}).encode()
    letters = [
        (TRIGGERS, "lab-1", b"\xff\x00 no JSON", "trigger.v1"),
        (TRIGGERS, "lab-1", b"{}", "trigger.v1"),
        (TRIGGERS, "lab-1", huge, "trigger.v1"),
        ("rigbeat.commands", "lab-1", b"[]", "command.fence.v1"),
        ("rigbeat.commands", "lab-1", huge, "command.fence.v1"),
        (RESULTS, "lab-1.finished", b"null", "execution.finished.v1"),
        (RESULTS, "lab-1.finished", huge, "execution.finished.v1"),
        (RESULTS, "lab-1.hello", b"{}", "host.hello.v1"),
        (RESULTS, "lab-1.heartbeat", huge, "host.heartbeat.v1"),
        (RESULTS, "lab-1.started", b"{}", "no.such.type"),
    ]
    scene.rng.shuffle(letters)
    for number, (exchange, key, body, kind) in enumerate(letters):
        assert (
            rabbit.publish(broker, exchange, key, body, kind=kind, identity=f"poison-{scene.name}-{number}")
            == "confirmed"
        )
        if number % 3 == 0:
            scene.fire()
    # All of it but the heartbeat, which is worth nothing a moment later.
    until(
        lambda: scene.stage.sql("SELECT count(*) FROM dead_letters")[0][0] >= before + len(letters) - 1,
        within=30,
        what="all poison is with the dead letters",
    )
    scene.notes.append(f"{len(letters) - 1} dead letters kept")
    scene.fire()


@row("messages:void", "a trigger that expires in its queue although the host took it: the host's word stands", "I4, I6")
def void(scene: Scene) -> None:
    scene.deploy("slowly", seconds=2, cron_expression=NEVER, catch_up_window_seconds=LIVES_SECONDS)
    before = scene.count_done("runner.trigger.journaled")
    # Taken, and its acknowledgement never came: the broker has it again, and lets it expire while the runner is away.
    scene.order("runner.trigger.journaled", Action.DIE, process="runner-lab-1")
    run = scene.run("slowly")
    until(lambda: scene.count_done("runner.trigger.journaled") > before, within=20, what="it dies")
    with scene.stage.actor("runner-lab-1").held():
        # The broker counts by its own clock, which no row can move.
        given_up = scene.wait_for(run["id"], "skipped", within=LIVES_SECONDS + 30)
        assert (given_up["reason"], given_up["presumed"]) == ("missed", True), given_up
    scene.wait_for(run["id"], "completed", within=40)
