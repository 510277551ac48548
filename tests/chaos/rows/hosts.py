"""Hosts that go away, come back with results, with a new disk, or twice."""

from __future__ import annotations

import shutil
import signal

from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.chaos.stage import runner_of
from tests.support.wait import until, until_after


@row(
    "host:gone-and-back",
    "a host gone for longer than every timeout, its run goes on; then it is back with the result",
    "I2 to I7",
)
def gone_and_back(scene: Scene) -> None:
    scene.deploy("running", gate="over", timeout_seconds=600, cron_expression=NEVER)
    scene.deploy(
        "queued", seconds=0, device_id="stb-1", cron_expression=NEVER, on_device_busy="queue", max_wait_seconds=60
    )
    scene.deploy("minutely", device_id="stb-2")
    running, queued = scene.run("running"), None
    scene.wait_for(running["id"], "running")
    queued = scene.run("queued")
    scene.wait_for(queued["id"], "queued")
    scene.fire()
    with scene.stage.actor(runner_of("lab-1")).held():
        scene.fire()
        triggered = scene.run("minutely")
        scene.stage.shift(1500)
        # Both are given up: what it had taken, and what it never took.
        lost = scene.wait_for(running["id"], "failed", within=70)
        assert (lost["reason"], lost["presumed"]) == ("host_lost", True), lost
        missed = scene.wait_for(triggered["id"], "skipped", within=40)
        assert (missed["reason"], missed["presumed"]) == ("missed", True), missed
        scene.open("over")
        until(
            (scene.stage.state_dir("lab-1") / "runs" / running["id"] / "status").exists,
            within=20,
            what="the script has ended while nobody watched",
        )
    ended = scene.wait_for(running["id"], "completed", within=40)
    assert not ended["presumed"], ended
    scene.wait_for(queued["id"], "completed", "skipped", within=40)
    scene.fire()


@row(
    "host:new-disk",
    "a host with a new disk: what the old one had taken ends host_lost, the rest runs once",
    "I1, I4, I7",
)
def new_disk(scene: Scene) -> None:
    scene.traffic()
    scene.deploy("running", gate="over", device_id="stb-3", cron_expression=NEVER)
    run = scene.run("running")
    scene.wait_for(run["id"], "running")
    scene.fire()
    until_after(2)
    state = scene.stage.state_dir("lab-1")
    old = state.with_name("lab-1-old")
    with scene.stage.actor(runner_of("lab-1")).held():
        scene.open("over")
        until((state / "runs" / run["id"] / "status").exists, within=20, what="the script has ended")
        shutil.rmtree(old, ignore_errors=True)
        state.rename(old)
        scene.old_journals["lab-1"] = [old / "journal.sqlite"]
        # What was taken and not told by the old disk is the exception that nobody can mend.
        told = scene.stage.sql(
            "SELECT id::text FROM deployment_executions WHERE host_name = 'lab-1'"
            " AND status IN ('triggered', 'queued', 'running')"
        )
        scene.lost |= {identity for (identity,) in told}
        scene.fire()
        scene.stage.enrol_again("lab-1")
    lost = scene.wait_for(run["id"], "failed", within=40)
    assert (lost["reason"], lost["presumed"]) == ("host_lost", True), lost
    scene.fire()
    scene.notes.append(f"{len(scene.lost)} lost with the disk")


@row(
    "host:two-runners",
    "a second runner of the same name: one of them serves, the other says so and ends",
    "I2, I3, I6",
)
def two_runners(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    twin = scene.stage.add_runner("lab-1", "twin", scene.stage.folder / "hosts" / "twin")
    # As a state folder that was copied to another machine: the first one's credentials, and a journal of its own.
    kept = scene.stage.folder / "hosts" / "twin" / "credentials.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(scene.stage.state_dir("lab-1") / "credentials.json", kept)
    twin.begin()
    try:
        for _ in range(3):
            scene.fire()
        until(lambda: 4 in twin.ends, within=30, what="the second one has ended by itself")
        assert "another runner serves the host" in twin.log.read_text()
        # The first goes away for a moment: whoever is first then serves, and never both.
        first = scene.stage.actor(runner_of("lab-1"))
        first.kill()
        scene.fire(2)
    finally:
        twin.end()
        del scene.stage.actors["twin"]
    # What the twin has taken nobody else can end: it must have told it before it ended.
    scene.old_journals["lab-1"] = [scene.stage.folder / "hosts" / "twin" / "journal.sqlite"]
    scene.fire()


@row(
    "host:restarted-under-load",
    "a runner restarted in order and killed, again and again, with scripts that go on",
    "I2 to I7",
)
def restarted(scene: Scene) -> None:
    scene.traffic()
    runner = scene.stage.actor(runner_of("lab-1"))
    for _ in range(4):
        scene.fire()
        scene.some_time(0, 1)
        if scene.rng.random() < 0.5:
            runner.kill()
        else:
            before = runner.pid
            runner.send(signal.SIGTERM)
            until(lambda: runner.lives and runner.pid != before, within=40, what="it runs again")  # noqa: B023
    scene.fire()
