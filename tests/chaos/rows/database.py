"""PostgreSQL restarted, its sessions ended, paused, restored from an older dump."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import psycopg
from psycopg import sql

from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.chaos.stage import Stage
from tests.support.wait import until, until_after


def restart(stage: Stage, number: signal.Signals = signal.SIGINT) -> None:
    """SIGINT: fast, SIGQUIT: at once, as after a power cut."""
    pid = stage.postgres.pid
    assert pid is not None
    os.kill(pid, number)
    until(lambda: stage.postgres.pid is None, within=30, what="PostgreSQL has ended")
    stage.postgres.start()


@row("postgres:restarted", "PostgreSQL stopped fast and at once, amid fires", "I1 to I7")
def restarted(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    for number in scene.rng.sample([signal.SIGINT, signal.SIGQUIT], 2):
        scene.stage.to_next_minute()
        scene.some_time(0.2, 0.6)
        restart(scene.stage, number)
        scene.fire(within=60)


@row("postgres:backends-killed", "sessions ended by an administrator, and one killed with -9, amid fires", "I1 to I7")
def backends_killed(scene: Scene) -> None:
    scene.traffic()
    for _ in range(4):
        scene.stage.to_next_minute()
        scene.some_time(0.2, 0.7)
        scene.stage.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'rigbeat%%' AND random() < %s",
            scene.rng.random(),
        )
        scene.decided(60)
    scene.fire(within=60)
    sessions = scene.stage.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'rigbeat%%' ORDER BY pid")
    scene.stage.to_next_minute()
    os.kill(scene.rng.choice(sessions)[0], signal.SIGKILL)  # the server ends all sessions then, and recovers
    until_after(1)
    scene.decided(60)


@row("postgres:paused", "PostgreSQL stands still for seconds, then goes on", "I1 to I7")
def paused(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    assert scene.stage.postgres.pid is not None
    for seconds in (scene.rng.uniform(2, 6), 33.0):
        scene.stage.to_next_minute()
        scene.some_time(0.2, 0.5)
        family = psutil.Process(scene.stage.postgres.pid)
        members = [family, *family.children(recursive=True)]
        try:
            for member in members:
                with contextlib.suppress(psutil.NoSuchProcess):  # a session that has ended meanwhile
                    member.suspend()
            until_after(seconds)
        finally:
            for member in reversed(members):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.resume()
        scene.fire(within=60)


@row(
    "postgres:restored",
    "the ledger restored from an older copy, then `recover`: hosts tell again, nothing runs twice",
    "I1, I4, I5, I6",
)
def restored(scene: Scene) -> None:
    stage = scene.stage
    scene.traffic()
    scene.deploy("limited", max_executions=6, device_id="stb-3", cron_expression=NEVER, on_device_busy="queue")
    for _ in range(2):
        run = scene.run("limited")
        scene.wait_for(run["id"], "completed")
    scene.fire()
    _settle(scene)
    _copy(stage, stage.database.name, "older")
    for _ in range(2):
        run = scene.run("limited")
        scene.wait_for(run["id"], "completed")
    scene.fire(2)
    _settle(scene)
    # Fires and runs since the copy are gone from the ledger, and known to the hosts alone.
    _copy(stage, "older", stage.database.name)
    with scene.timed("recovered after"):
        body = {"wait_seconds": 60}
        state = stage.call_patiently("POST", "/recover", json=body)
        until(
            lambda: stage.call_patiently(
                "POST", "/recover", json=body | {"ledger_epoch": state["ledger_epoch"]}, may_refuse=True
            ).get("firing"),
            within=70,
            what="firing goes on",
        )
    until(
        lambda: stage.call("GET", f"/deployments/{scene.deployed['limited']}")["execution_count"] == 4,
        within=30,
        what="all four are told",
    )
    for _ in range(2):
        run = scene.run("limited")
        scene.wait_for(run["id"], "completed")
    until(
        lambda: stage.call("GET", f"/deployments/{scene.deployed['limited']}")["status"] == "completed",
        within=20,
        what="the limit is reached",
    )
    scene.fire()


def _settle(scene: Scene) -> None:
    ids = list(scene.deployed.values())
    until(
        lambda: (
            not scene.stage.sql(
                "SELECT FROM deployment_executions WHERE deployment_id = ANY (%s::uuid[])"
                " AND status IN ('triggered', 'queued', 'running')",
                ids,
            )
        ),
        within=30,
        what="all runs have ended",
    )


def _copy(stage: Stage, source: str, target: str) -> None:
    """Make database `target` what `source` is now; everybody is thrown out of both meanwhile."""
    owner = sql.Identifier("rigbeat")
    with psycopg.connect(stage.postgres.superuser_url, autocommit=True) as admin:
        for name in (source, target):
            admin.execute(sql.SQL("SELECT 1"))
            if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(target)))
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(target), sql.Identifier(source), owner
            )
        )
        for name in (source, target):
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
