"""Each process killed, stopped, delayed and lied to at each of its fault points."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial

from tests.chaos.rabbit import publish
from tests.chaos.row import ROWS, Row
from tests.chaos.scene import Scene
from tests.faults.orders import Action
from tests.faults.points import POINTS, Point
from tests.support.wait import until, until_after

_COMMANDS = ("command", "web.change")
_LETTERS = "letters"


def _reach(scene: Scene, point: Point) -> None:
    """Do what passes the point."""
    if any(word in point.name for word in _COMMANDS):
        name = f"told-{len(scene.deployed)}"
        scene.deploy(name, gate=f"gate-{name}", device_id="stb-3", cron_expression="0 0 1 1 *")
        running, queued = scene.run(name), scene.run(name)
        scene.wait_for(queued["id"], "queued", "skipped", "completed")
        identity = scene.deployed[name]
        scene.stage.call_patiently("POST", f"/deployments/{identity}/pause", json={"reason": "told"})
        scene.stage.call_patiently("POST", f"/executions/{running['id']}/cancel", may_refuse=True)
        # A request whose answer was lost is made again: who then runs may be another than the one that was cancelled.
        scene.open(f"gate-{name}")
    if _LETTERS in point.name:
        _poison(scene)
    scene.fire()


def _poison(scene: Scene) -> None:
    publish(scene.stage.rabbitmq, "rigbeat.results", "lab-1.finished", b"no JSON at all", kind="execution.finished.v1")


def _until_done(scene: Scene, point: Point, before: int) -> None:
    for _ in range(4):
        _reach(scene, point)
        try:
            until(lambda: scene.count_done(point.name) > before, within=8, what=f"{point.name} was reached")
        except AssertionError:
            continue
        return
    raise AssertionError(f"nobody came by {point.name}")


def _kill(scene: Scene, point: Point) -> None:
    scene.patient_traffic()
    scene.fire()
    before = scene.count_done(point.name)
    scene.order(point.name, Action.DIE, passes=scene.rng.randrange(2))
    _until_done(scene, point, before)
    scene.fire()


def _slow(scene: Scene, point: Point) -> None:
    scene.traffic()
    actions = [Action.HANG, Action.LATE] + ([Action.LIE] if point.lie is not None else [])
    for action in scene.rng.sample(actions, len(actions)):
        before = scene.count_done(point.name)
        scene.order(point.name, action, seconds=scene.rng.uniform(0.3, 1.5))
        with _going_on(scene, point, before) if action is Action.HANG else contextlib.nullcontext():
            _until_done(scene, point, before)
    scene.fire()


@contextlib.contextmanager
def _going_on(scene: Scene, point: Point, before: int) -> Iterator[None]:
    """Who stands still at the point goes on a drawn time later. Beside the row: its own request may be what waits."""
    seconds = scene.rng.uniform(0.2, 2.0)
    over = threading.Event()

    def let_go() -> None:
        while scene.count_done(point.name) <= before:
            if over.wait(0.05) and scene.count_done(point.name) <= before:
                return
        until_after(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(scene.where_done(point.name)["pid"]), signal.SIGCONT)

    helper = threading.Thread(target=let_go)
    helper.start()
    try:
        yield
    finally:
        over.set()
        helper.join()


for _point in POINTS:
    ROWS[f"kill:{_point.name}"] = Row(
        f"kill:{_point.name}", f"kill -9 of the {_point.kind}: {_point.says}", "I1 to I7", partial(_kill, point=_point)
    )
    ROWS[f"slow:{_point.name}"] = Row(
        f"slow:{_point.name}",
        f"the {_point.kind} stands still, is late{' or is told a lie' if _point.lie else ''}: {_point.says}",
        "I1 to I7",
        partial(_slow, point=_point),
    )
