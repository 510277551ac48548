"""Disks that run full: PostgreSQL's, the broker's, a host's with its journal, the one for logs; and have room again."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.row import row
from tests.chaos.scene import Scene
from tests.chaos.small_disks import full


def _fill(scene: Scene, name: str) -> None:
    places = scene.stage.places
    assert places is not None
    place: Path = places.mounts[name]
    scene.traffic()
    scene.fire()
    with full(place):
        for _ in range(3):
            scene.stage.to_next_minute()
            scene.some_time(1, 3)
    scene.stage.postgres.start()  # it may have ended itself
    if name == "rabbitmq":
        _restart_if_dead(scene)
    scene.stage.wait_until_ready(90)
    scene.fire(within=60)
    scene.fire(within=60)


def _restart_if_dead(scene: Scene) -> None:
    """The log of its quorum queues may give up when it cannot write; then its operator's restart brings it back."""
    try:
        scene.stage.wait_until_ready(30)
    except AssertionError:
        log = scene.stage.rabbitmq.log.read_text(errors="replace")
        assert "enospc" in log, "the broker does not serve, and its disk is not why"
        scene.stage.rabbitmq.stop()
        scene.stage.rabbitmq.start()
        scene.notes.append("the broker had lost its queues' log and was started again")


for _name, _says in {
    "postgres": "PostgreSQL's disk",
    "rabbitmq": "the broker's disk",
    "hosts": "the hosts' disk, with journals and output",
    "artifacts": "the disk on which the API keeps logs and files",
}.items():
    row(f"disk-full:{_name}", f"{_says} is full for a while", "I1 to I7", stage="cramped")(
        lambda scene, name=_name: _fill(scene, name)  # type: ignore[misc]
    )
