"""Clocks that are apart, and that jump."""

from __future__ import annotations

from tests.chaos.row import row
from tests.chaos.scene import NEVER, Scene
from tests.support.wait import until, until_after


@row(
    "clock:hosts-apart",
    "the clocks of two hosts 120 s apart from the ledger's, in both directions",
    "I1, I3 to I6",
    ends_dirty=True,
)
def hosts_apart(scene: Scene) -> None:
    scene.trusts_clocks = False
    scene.traffic()
    for name, seconds in (("runner-lab-1", 120.0), ("runner-lab-2", -120.0)):
        scene.stage.set_clock(name, seconds)
    scene.fire(2)
    for name in ("runner-lab-1", "runner-lab-2"):
        scene.stage.actor(name).kill()
    scene.fire(2)
    _runs(scene, "waits", "far")


@row(
    "clock:host-fast",
    "a host whose clock is 15 minutes fast: nothing is refused for its clock",
    "I1, I3 to I6",
    ends_dirty=True,
)
def host_fast(scene: Scene) -> None:
    scene.trusts_clocks = False
    scene.traffic()
    scene.stage.set_clock("runner-lab-1", 900.0)
    scene.fire(3)
    scene.stage.actor("runner-lab-1").kill()
    scene.fire()
    _runs(scene, "waits")


@row(
    "clock:host-jumps",
    "a host's clock jumps an hour ahead and an hour back, with scripts running",
    "I1, I3 to I6",
    ends_dirty=True,
)
def host_jumps(scene: Scene) -> None:
    scene.trusts_clocks = False
    scene.traffic()
    for seconds in scene.rng.sample([3600.0, -3600.0, 0.0], 3):
        scene.fire()
        scene.some_time(0, 0.5)
        scene.stage.set_clock("runner-lab-1", seconds)
        scene.fire()
    scene.stage.set_clock("runner-lab-1", 0.0)
    _runs(scene, "waits")


@row(
    "clock:host-and-locks",
    "a host whose clock is half an hour off holds to a device's lock for as long as it lasts, and no longer",
    "I3, I7",
    ends_dirty=True,
)
def locks(scene: Scene) -> None:
    scene.trusts_clocks = False
    scene.deploy("locked", cron_expression=NEVER)
    for seconds in scene.rng.sample([1800.0, -1800.0], 2):
        scene.stage.set_clock("runner-lab-1", seconds)
        _runs(scene, "locked")  # until it has read the clock anew: what it thinks before is not asked here
        body = {"reason": "mine for a minute", "seconds": 60}
        scene.stage.call_patiently("POST", "/hosts/lab-1/devices/stb-1/lock", json=body)
        run = scene.run("locked")
        ended = scene.wait_for(run["id"], "completed", "skipped", within=20)
        assert ended["reason"] == "device_locked", ended
        scene.stage.shift(61)
        until(lambda: _is_free(scene), within=60, what="the lock is over on its host, too")


def _is_free(scene: Scene) -> bool:
    ended = scene.wait_for(scene.run("locked")["id"], "completed", "skipped", within=20)
    return str(ended["status"]) == "completed"


@row("clock:ledger-ahead", "the ledger's clock jumps an hour ahead", "I1 to I7")
def ledger_ahead(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    scene.stage.shift(3600)
    scene.decided(60)
    until(lambda: not scene.stage.sql("SELECT FROM backlogs"), within=60, what="what was missed is written down")
    scene.fire()
    _runs(scene, "waits")


@row(
    "clock:ledger-back", "the ledger's clock jumps an hour back, and catches up again", "I1, I3 to I6", ends_dirty=True
)
def ledger_back(scene: Scene) -> None:
    scene.trusts_clocks = False
    scene.traffic()
    scene.fire(2)
    rows = sum(scene.outcomes().values())
    scene.stage.shift(-3600)
    until_after(scene.rng.uniform(3, 6))
    assert sum(scene.outcomes().values()) == rows, "nothing fires a second time"
    _runs(scene, "waits")
    scene.stage.shift(3600)
    scene.fire(2)
    _runs(scene, "waits")


def _runs(scene: Scene, *names: str) -> None:
    """A run by hand is not refused for any clock."""
    for name in names:
        run = scene.run(name)
        ended = scene.wait_for(run["id"], "completed", "skipped", within=40)
        assert ended["status"] == "completed" or ended["reason"] == "already_queued", ended
