"""The broker stopped, killed, wiped, full, impatient; queues and exchanges deleted, permissions taken away."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

from libs.contracts.topology import (
    DEAD_LETTERS,
    HOSTS_PRESENCE,
    RESULTS,
    RESULTS_PERSIST,
    TRIGGERS,
    commands_queue,
    triggers_queue,
)
from services.host_runner.outbound import CONFIRM_SECONDS
from tests.chaos import rabbit
from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.chaos.stage import HOSTS, Stage
from tests.faults.orders import Action
from tests.support.wait import until, until_after

CONSUMED = (
    RESULTS_PERSIST,
    HOSTS_PRESENCE,
    DEAD_LETTERS,
    *(queue(host) for host in HOSTS for queue in (triggers_queue, commands_queue)),
)
BACK_SECONDS = 30.0
IMPATIENT = "has timed out waiting for"
MANY_SECONDS = 300.0
"""Thousands of triggers and as many commands, each a commit of its host's journal, on two cores that all share."""


def stop_hard(stage: Stage) -> None:
    """`kill -9` of the node."""
    pid = stage.rabbitmq.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: stage.rabbitmq.pid is None, within=10, what="the broker is dead")


def start_and_time(scene: Scene) -> None:
    """Start it, and note after how long all queues are consumed again."""
    scene.stage.rabbitmq.start()
    began = time.monotonic()
    until(
        lambda: all(rabbit.look(scene.stage.rabbitmq, name)[1] for name in CONSUMED),
        within=60,
        what="all consumers are back",
    )
    took = time.monotonic() - began
    scene.notes.append(f"consumers back after {took:.1f} s")
    assert took < BACK_SECONDS, f"consumers were back after {took:.1f} s"


def _without_broker(
    scene: Scene, lose: Callable[[Stage], None], *meanwhile: Callable[[], None], traffic: Callable[[Scene], None]
) -> None:
    """Fires before, in the very moment, while it is away and after."""
    traffic(scene)
    scene.fire()
    scene.stage.to_next_minute()
    scene.some_time(0, 0.5)
    lose(scene.stage)
    scene.fire()
    for each in meanwhile:
        each()
    start_and_time(scene)
    scene.fire()


@row("broker:stopped", "the broker stopped in order, and started again, amid fires", "I1 to I7")
def stopped(scene: Scene) -> None:
    _without_broker(
        scene, lambda stage: stage.rabbitmq.stop(), lambda: scene.some_time(0, 3), traffic=Scene.patient_traffic
    )


@row("broker:killed", "kill -9 of the broker, amid fires", "I1 to I7")
def killed(scene: Scene) -> None:
    _without_broker(scene, stop_hard, lambda: scene.some_time(0, 3), traffic=Scene.patient_traffic)


def many(scene: Scene, number: int) -> None:
    """So many deployments that fire together, over all devices; most of them will meet a busy one.

    A script lives long enough for that: what is tried here is a crowd of triggers and of answers, not of processes.
    """
    scene.rest_seconds = MANY_SECONDS
    scene.deploy("one", seconds=3)
    seed = scene.deployed["one"]
    rows = scene.stage.sql(
        """
        WITH made AS (
            INSERT INTO deployments (
                id, team_id, name, host_name, device_id, script_name, userinterface_name, parameters, cron_expression,
                counted_from, next_fire_at, next_due_at, created_by)
            SELECT gen_random_uuid(), d.team_id, d.name || '-' || n, CASE n %% 4 WHEN 3 THEN 'lab-2' ELSE 'lab-1' END,
                   CASE n %% 4 WHEN 3 THEN 'stb-1' ELSE 'stb-' || (1 + n %% 4) END, d.script_name, d.userinterface_name,
                   d.parameters, d.cron_expression, d.counted_from, d.next_fire_at, d.next_due_at, d.created_by
            FROM deployments d, generate_series(1, %s) n WHERE d.id = %s
            RETURNING *
        ), noted AS (
            INSERT INTO deployment_versions (
                deployment_id, version, team_id, valid_from, counted_from, cron_expression, timezone, status, catch_up,
                catch_up_window_seconds, on_device_busy, max_wait_seconds, timeout_seconds, deleted, changed_by)
            SELECT id, version, team_id, counted_from, counted_from, cron_expression, timezone, status, catch_up,
                   catch_up_window_seconds, on_device_busy, max_wait_seconds, timeout_seconds, false, 'chaos' FROM made
        )
        SELECT id::text FROM made
        """,
        number - 1,
        seed,
    )
    scene.deployed.update({f"many-{n}": identity for n, (identity,) in enumerate(rows)})


@row(
    "broker:killed-with-1000-unconfirmed",
    "kill -9 of the broker while a thousand triggers are unconfirmed",
    "I1, I6, I7",
    ends_dirty=True,
)
def killed_unconfirmed(scene: Scene) -> None:
    many(scene, 1000)
    pid = scene.stage.rabbitmq.pid
    assert pid is not None
    # Before they are decided: who has written once writes to this broker no more, since nobody answers.
    before = scene.count_done("scheduler.publish.written")
    scene.order("scheduler.publish.written", Action.LATE)
    os.kill(pid, signal.SIGSTOP)  # so that none of them is confirmed; what was written waits in its sockets
    scene.stage.to_next_minute()
    unconfirmed = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND type = 'trigger.v1'"
    until(lambda: scene.stage.sql(unconfirmed)[0][0] >= 1000, within=30, what="a thousand triggers are decided")
    until(lambda: scene.count_done("scheduler.publish.written") > before, within=30, what="they are on their way")
    [(waiting,)] = scene.stage.sql(unconfirmed)
    stop_hard(scene.stage)
    scene.notes.append(f"{waiting} unconfirmed")
    assert waiting >= 1000
    start_and_time(scene)
    scene.decided()
    scene.fire()


@row(
    "broker:killed-with-unconfirmed-events",
    "kill -9 of the broker after it stood still for longer than hosts wait for its word",
    "I4, I6, I7",
    ends_dirty=True,
)
def killed_with_unconfirmed_events(scene: Scene) -> None:
    scene.traffic()
    scene.deploy("told", seconds=1, device_id="stb-3", cron_expression=NEVER)
    scene.fire()
    run = scene.run("told")
    scene.wait_for(run["id"], "running")
    pid = scene.stage.rabbitmq.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # what is written now waits in its sockets, and is gone with it
    until_after(0.5)
    with scene.journal("lab-1") as journal:
        counted = "SELECT count(confirmed_at), count(*) FROM events"
        [(confirmed, said)] = journal.execute(counted).fetchall()
        until_after(CONFIRM_SECONDS + scene.rng.uniform(2, 4))
        [(confirmed_now, said_now)] = journal.execute(counted).fetchall()
    scene.notes.append(f"{said_now - confirmed_now} events unconfirmed")
    assert said_now > said, "nothing was said meanwhile"
    assert confirmed_now == confirmed, f"I6: {confirmed_now - confirmed} events count as confirmed, and nobody said so"
    stop_hard(scene.stage)
    start_and_time(scene)
    scene.fire()


@row("broker:wiped", "kill -9 of the broker, and all its data gone", "I1 to I7")
def wiped(scene: Scene) -> None:
    def lose(stage: Stage) -> None:
        stop_hard(stage)
        shutil.rmtree(stage.rabbitmq.directory / "mnesia")

    _without_broker(scene, lose, traffic=Scene.patient_traffic)


@row(
    "broker:wiped-with-a-trigger",
    "all of the broker's data is lost with a trigger that waits for its host: it is sent again and runs",
    "I1, I6",
)
def wiped_with_a_trigger(scene: Scene) -> None:
    scene.deploy("waits", cron_expression=NEVER)
    with scene.stage.actor("runner-lab-1").held():
        run = scene.run("waits")
        scene.published()
        scene.some_time(0, 2)
        stop_hard(scene.stage)
        shutil.rmtree(scene.stage.rabbitmq.directory / "mnesia")
        scene.stage.rabbitmq.start()
    with scene.timed("ran after"):
        scene.wait_for(run["id"], "completed", within=60)


@row("broker:memory-alarm", "the broker blocks all publishers, then lets them again", "I1 to I7")
def memory_alarm(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    rabbit.evaluate(scene.stage.rabbitmq, "vm_memory_monitor", "set_vm_memory_high_watermark", "[0.00001]")
    try:
        log = scene.stage.rabbitmq.log
        until(lambda: "memory resource limit alarm set" in log.read_text(errors="replace"), within=10, what="the alarm")
        scene.stage.to_next_minute()
        until_after(scene.rng.uniform(4, 9))
        scene.fire()
    finally:
        rabbit.evaluate(scene.stage.rabbitmq, "vm_memory_monitor", "set_vm_memory_high_watermark", "[0.4]")
    scene.fire()


@row(
    "broker:consumer-timeout",
    "scripts run longer than the broker lets a consumer hold a delivery",
    "I2, I3, I6",
    drawn=False,
    stage="impatient",
)
def consumer_timeout(scene: Scene) -> None:
    scene.deploy("long", seconds=12, on_device_busy="queue")
    scene.fire(2)
    until(
        lambda: scene.outcomes()["completed", ""] >= 1 and scene.outcomes()["running", ""] == 0,
        within=60,
        what="the long ones have ended",
    )
    log = scene.stage.rabbitmq.log
    assert IMPATIENT not in log.read_text(errors="replace"), "the broker ended a consumer of ours"
    held = rabbit.hold_a_delivery(scene.stage.rabbitmq, within=30)
    scene.notes.append(f"who does hold a delivery is ended after {held:.0f} s")
    assert IMPATIENT in log.read_text(errors="replace"), "the broker writes something else when it ends one"


@row(
    "broker:queue-deleted", "a host's trigger queue, its command queue, and the results' queue are deleted", "I1 to I7"
)
def queue_deleted(scene: Scene) -> None:
    names = [triggers_queue("lab-1"), commands_queue("lab-1"), RESULTS_PERSIST]
    scene.traffic()
    for name in scene.rng.sample(names, len(names)):
        scene.fire()
        scene.stage.to_next_minute()
        scene.some_time(0, 0.5)
        rabbit.manage(scene.stage.rabbitmq, "DELETE", rabbit.queue(name))
        scene.fire()
        until(
            lambda name=name: rabbit.look(scene.stage.rabbitmq, name)[1],  # type: ignore[misc]
            within=60,
            what=f"{name} is consumed again",
        )
        scene.fire()


@row("broker:exchange-deleted", "the exchanges of triggers and of results are deleted", "I1 to I7")
def exchange_deleted(scene: Scene) -> None:
    scene.traffic()
    for name in scene.rng.sample([TRIGGERS, RESULTS], 2):
        scene.fire()
        rabbit.manage(scene.stage.rabbitmq, "DELETE", f"/exchanges/%2F/{name}")
        scene.fire()
        until_after(2)
        scene.fire()


def _refusals(scene: Scene) -> int:
    return scene.stage.rabbitmq.log.read_text(errors="replace").count("access_refused")


@row("broker:permission-taken", "the user may not write or read any more for a while", "I1 to I7")
def permission_taken(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    path = "/permissions/%2F/rigbeat"
    for allowed in ({"configure": ".*", "write": "^$", "read": ".*"}, {"configure": ".*", "write": ".*", "read": "^$"}):
        before = _refusals(scene)
        rabbit.manage(scene.stage.rabbitmq, "PUT", path, allowed)
        try:
            # Who consumes already is let go on, and who publishes too for a while: a new one is not.
            scene.stage.actor("runner-lab-1").kill()
            scene.stage.to_next_minute()
            scene.some_time(3, 8)
            scene.fire()
            until(lambda: _refusals(scene) > before, within=20, what="somebody is refused")  # noqa: B023
        finally:
            rabbit.manage(scene.stage.rabbitmq, "PUT", path, {"configure": ".*", "write": ".*", "read": ".*"})
        scene.fire()


def _grows_no_more(scene: Scene) -> bool:
    before = rabbit.look(scene.stage.rabbitmq, RESULTS_PERSIST)[0]
    until_after(4)  # longer than a script, which is all that hosts do then
    return rabbit.look(scene.stage.rabbitmq, RESULTS_PERSIST)[0] == before


@row(
    "results:backlog",
    "a backlog of results after the ingest was away drains at more than 1,000 a second",
    "I4, I7",
    ends_dirty=True,
)
def backlog(scene: Scene) -> None:
    many(scene, 1000)
    api, second = scene.stage.actor("api-1"), scene.stage.actor("ingest-2")
    with second.held():
        with api.held():
            for _ in range(6):
                scene.fire(within=60)
            # All is said before the ingest is back: else the runners would have the machine to themselves meanwhile.
            scene.published(60)
            until(lambda: _grows_no_more(scene), within=300, what="the hosts have answered every trigger")
            number = rabbit.look(scene.stage.rabbitmq, RESULTS_PERSIST)[0]
            assert number >= 5000, f"a backlog of {number} events is none"
            # The minutes go on meanwhile, and what they fire is not of the backlog.
            [(last,)] = scene.stage.sql("SELECT max(scheduled_at) FROM deployment_executions")
        unread = (
            "SELECT count(*) FROM deployment_executions WHERE scheduled_at <= %s"
            " AND status IN ('triggered', 'queued', 'running')"
        )
        [(before,)] = scene.stage.sql(unread, last)
        until(lambda: scene.stage.sql(unread, last)[0][0] < before, within=60, what="the first are in the ledger")
        began = time.monotonic()
        left = rabbit.look(scene.stage.rabbitmq, RESULTS_PERSIST)[0]  # without what the ingest has in hand already
        until(lambda: not scene.stage.sql(unread, last)[0][0], within=60, what="the last are in the ledger")
        rate = left / (time.monotonic() - began)
    scene.notes.append(f"of {number} events the last {left} were in the ledger at {rate:.0f} a second")
    assert rate > 1000, f"a backlog of results drained at {rate:.0f} a second"


@row(
    "broker:long-away",
    "the broker away for longer than every window; what was not sent is missed, with a reason",
    "I1, I7",
)
def long_away(scene: Scene) -> None:
    def a_long_time() -> None:
        scene.stage.shift(700)
        until_after(2)

    _without_broker(scene, stop_hard, a_long_time, traffic=Scene.traffic)
    missed = scene.outcomes()["skipped", "missed"]
    scene.notes.append(f"{missed} missed")
    assert missed
