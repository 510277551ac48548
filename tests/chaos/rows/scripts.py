"""Scripts that do not behave: forks without end, floods of output, deafness to TERM, daemons."""

from __future__ import annotations

import time

from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.support.watcher import living


def _behaves_badly(scene: Scene, how: str, reason: str) -> None:
    scene.deploy("bad", script="unruly.py", cron_expression=NEVER, timeout_seconds=3)
    scene.stage.call_patiently(
        "PATCH", f"/deployments/{scene.deployed['bad']}", json={"parameters": f"--effects {scene.folder} --how {how}"}
    )
    scene.deploy("good", device_id="stb-2")
    scene.deploy("after", cron_expression=NEVER, on_device_busy="queue")
    run = scene.run("bad")
    scene.wait_for(run["id"], "running", "failed", "completed")
    began = time.monotonic()
    after = scene.run("after")
    scene.fire(2)
    ended = scene.wait_for(run["id"], "failed", "completed", within=60)
    scene.notes.append(f"{ended['status']} {ended['reason'] or ''}, over after {time.monotonic() - began:.1f} s")
    assert (ended["reason"] or "") == reason, ended
    scene.wait_for(after["id"], "completed", within=30)
    left = [pid for pid, execution in living() if execution == run["id"]]
    assert not left, f"I3: processes {left} of {run['id']} live on"


@row("script:fork-bomb", "a script that forks without end until its limit", "I3, I7", drawn=False)
def fork_bomb(scene: Scene) -> None:
    _behaves_badly(scene, "forks", "timed_out")


@row("script:flood", "a script that prints as much as it can until its limit", "I3, I7", drawn=False)
def flood(scene: Scene) -> None:
    _behaves_badly(scene, "flood", "timed_out")
    [(size,)] = scene.stage.sql(
        "SELECT max(log_bytes) FROM deployment_executions WHERE deployment_id = %s", scene.deployed["bad"]
    )
    scene.notes.append(f"{size / 1e6:.1f} MB of its output kept")
    assert size <= (1 << 20) + 100


@row("script:deaf", "a script that ignores TERM", "I3, I7", drawn=False)
def deaf(scene: Scene) -> None:
    _behaves_badly(scene, "deaf", "timed_out")


@row("script:daemon", "a script that ends and leaves a daemon of its own session behind", "I3, I7", drawn=False)
def daemon(scene: Scene) -> None:
    _behaves_badly(scene, "daemon", "")
