"""Schedulers away, processes that stand still, shims and runners killed at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.chaos.stage import SCHEDULERS, runner_of
from tests.faults.orders import Action
from tests.support.wait import until, until_after
from tests.support.watcher import living

PROCESSES = ("scheduler-1", "scheduler-2", "api-1", "ingest-2", "runner-lab-1", "runner-lab-2")


@row("kill:any", "kill -9 of drawn processes at drawn moments, under fires", "I1 to I7")
def kill_any(scene: Scene) -> None:
    scene.traffic()
    for _ in range(6):
        scene.fire()
        scene.some_time(0, 0.6)
        scene.stage.actor(scene.rng.choice(PROCESSES)).kill()


@row("scheduler:fires-on", "kill -9 of one scheduler in the middle of a fire: the other fires within 2 s", "I1")
def other_fires_on(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    worst, ordered = 0.0, 0
    for name in SCHEDULERS * 2:
        point = scene.rng.choice(["scheduler.claim.decided", "scheduler.claim.committed", "scheduler.publish.written"])
        before = scene.count_done(point)
        with contextlib.ExitStack() as stack:
            scene.order(point, Action.DIE, process=name)
            scene.stage.to_next_minute()
            # It may be the other one that fires; then this one is killed now.
            with contextlib.suppress(AssertionError):
                until(lambda: scene.count_done(point) > before, within=0.5, what="it dies")  # noqa: B023
            ordered += scene.count_done(point) > before
            died = time.monotonic()
            stack.enter_context(scene.stage.actor(name).held())
            scene.decided()
            scene.published()
            worst = max(worst, time.monotonic() - died)
        scene.heal()
    scene.notes.append(f"fired and published by the other after {worst:.2f} s at most, {ordered} died in their fire")
    assert ordered, "none of them died in the middle of a fire"
    assert worst < 2.0, f"the other scheduler took {worst:.2f} s"


def _away(scene: Scene, policy: str) -> None:
    name = f"away-{policy}"
    scene.deploy(name, catch_up=policy, catch_up_window_seconds=600, seconds=0)
    scene.fire()
    with contextlib.ExitStack() as stack:
        for each in SCHEDULERS:
            stack.enter_context(scene.stage.actor(each).held())
        scene.stage.shift(25 * 60)
    scene.decided(30)
    until(
        lambda: (
            not scene.stage.sql("SELECT FROM backlogs")
            and not scene.stage.sql("SELECT FROM deployment_executions WHERE held")
        ),
        within=60,
        what="missed fires are written down and held ones released",
    )
    [(ran,)] = scene.stage.sql(
        "SELECT count(*) FROM deployment_executions WHERE deployment_id = %s AND status <> 'skipped'",
        scene.deployed[name],
    )
    missed = scene.outcomes(name)["skipped", "missed"]
    scene.notes.append(f"{ran} ran, {missed} missed")
    # The fire before, and of the 25: none but what was due just now, the newest, or those of the last ten minutes.
    wanted = {"none": (1, 2), "latest": (2, 2), "all": (9, 12)}[policy]
    assert wanted[0] <= ran <= wanted[1], f"I1: {ran} ran, {missed} missed"
    assert missed + ran in {25, 26, 27}, f"I1: {ran} ran, {missed} missed"


for _policy in ("none", "latest", "all"):
    row(f"schedulers-away:{_policy}", f"all schedulers away for 25 minutes, catch-up {_policy}", "I1, I7")(
        lambda scene, policy=_policy: _away(scene, policy)  # type: ignore[misc]
    )


@row("stop:scheduler", "SIGSTOP of a scheduler inside its transaction for longer than the ledger lets it", "I1, I6")
def stop_scheduler(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    for point in ("scheduler.claim.decided", "scheduler.mark.written"):
        before = scene.count_done(point)
        scene.order(point, Action.HANG)
        scene.stage.to_next_minute()
        until(lambda: scene.count_done(point) > before, within=20, what=point)  # noqa: B023
        until_after(17.0)  # idle_in_transaction_session_timeout is 15 s
        scene.decided()
        os.kill(int(scene.where_done(point)["pid"]), signal.SIGCONT)
        scene.fire()


@row(
    "stop:ingest",
    "SIGSTOP of the active ingest inside its transaction; the other takes over, then it goes on",
    "I2, I4, I6",
)
def stop_ingest(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    before = scene.count_done("ingest.batch.folded")
    scene.order("ingest.batch.folded", Action.HANG)
    scene.fire()
    until(lambda: scene.count_done("ingest.batch.folded") > before, within=20, what="it stands still")
    who = scene.where_done("ingest.batch.folded")
    with scene.timed("the other had taken over after"):
        # The broker gives a silent consumer's place away when it has missed its heartbeats.
        until(lambda: not _open_ones(scene), within=60, what="the other has taken what waited")
    scene.fire()
    os.kill(int(who["pid"]), signal.SIGCONT)
    scene.fire()


def _open_ones(scene: Scene) -> int:
    return sum(
        number for (status, _), number in scene.outcomes().items() if status in {"triggered", "queued", "running"}
    )


@row("kill:ingest-with-an-end", "kill -9 of the ingest that has a run's end in hand, not committed", "I1, I4, I7")
def kill_ingest_with_an_end(scene: Scene) -> None:
    scene.deploy("ends", gate="ends", cron_expression=NEVER)
    run = scene.run("ends")
    scene.wait_for(run["id"], "running")
    before = scene.count_done("ingest.batch.folded")
    scene.order("ingest.batch.folded", Action.DIE)
    scene.open("ends")
    until(lambda: scene.count_done("ingest.batch.folded") > before, within=20, what="it dies")
    with scene.timed("known after"):
        scene.wait_for(run["id"], "completed", within=40)


@row(
    "stop:runner",
    "SIGSTOP of a runner for longer than the broker waits for its heartbeats, with scripts that end meanwhile",
    "I2 to I7",
)
def stop_runner(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    with scene.stage.actor("runner-lab-1").stopped():
        scene.fire()
        until_after(scene.rng.uniform(22, 26))
        scene.fire()
    scene.fire()


@row("kill:shim", "kill -9 of shims while their scripts run", "I3, I4, I6, I7")
def kill_shims(scene: Scene) -> None:
    scene.deploy("long", seconds=20, more="--brood", cron_expression=NEVER, on_device_busy="queue")
    scene.deploy("next", seconds=0.2, device_id="stb-1", cron_expression=NEVER, on_device_busy="queue")
    for _ in range(3):
        run = scene.run("long")
        scene.wait_for(run["id"], "running")
        following = scene.run("next")
        scene.some_time(0, 0.5)
        os.kill(scene.shim_of(run), signal.SIGKILL)
        ended = scene.wait_for(run["id"], "failed")
        assert ended["reason"] == "interrupted", ended
        scene.wait_for(following["id"], "completed")
        assert run["id"] not in {execution for _, execution in living()}


@row("kill:runner-and-shim", "kill -9 of the runner, then of a shim, before the runner is back", "I3, I4, I6, I7")
def kill_runner_and_shim(scene: Scene) -> None:
    scene.deploy("long", seconds=20, cron_expression=NEVER)
    run = scene.run("long")
    scene.wait_for(run["id"], "running")
    pid = scene.shim_of(run)
    with scene.stage.actor(runner_of("lab-1")).held():
        os.kill(pid, signal.SIGKILL)
        scene.some_time(0, 1)
    ended = scene.wait_for(run["id"], "failed")
    assert ended["reason"] == "interrupted", ended
    again = scene.run("long")
    scene.wait_for(again["id"], "running")
    scene.stage.call_patiently("POST", f"/executions/{again['id']}/cancel")
    scene.wait_for(again["id"], "cancelled")


@row(
    "shim:late-and-another",
    "a shim is late, its runner dies, the next one starts another shim: one script runs",
    "I3, I4, I6, I7",
)
def late_and_another(scene: Scene) -> None:
    scene.deploy("one", seconds=2, cron_expression=NEVER)
    before = scene.count_done("runner.spawn.done")
    scene.order("shim.mark.begun", Action.LATE, seconds=scene.rng.uniform(4, 6))
    scene.order("runner.spawn.done", Action.DIE)
    run = scene.run("one")
    until(lambda: scene.count_done("runner.spawn.done") > before, within=20, what="the runner is dead")
    ended = scene.wait_for(run["id"], "completed", "failed", "cancelled", within=60)
    scene.notes.append(f"{ended['status']} {ended['reason'] or ''}".strip())
    # The late one has come by then, and found that it is nobody's.
    until_after(6)
    effects = (scene.folder / "effects.log").read_text().splitlines()
    assert len(effects) == 1, f"I6: the script ran {len(effects)} times: {effects}"
