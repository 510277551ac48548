"""Each link of each process: cut, reset, slow, half open."""

from __future__ import annotations

from functools import partial

from tests.chaos.row import ROWS, Row, row
from tests.chaos.scene import Scene
from tests.support.wait import until_after

LINES = (
    ("scheduler-1", "postgres"),
    ("scheduler-1", "rabbitmq"),
    ("api-1", "postgres"),
    ("api-1", "rabbitmq"),
    ("ingest-2", "postgres"),
    ("ingest-2", "rabbitmq"),
    ("runner-lab-1", "rabbitmq"),
    ("runner-lab-1", "api"),
)


def _worry(scene: Scene, process: str, server: str) -> None:
    link = scene.stage.link(process, server)
    scene.traffic()
    ways = ["cut", "reset", "slow", "half_open"]
    for way in scene.rng.sample(ways, len(ways)):
        scene.stage.to_next_minute()
        scene.some_time(0, 0.4)
        getattr(link, way)()
        scene.some_time(0.5, 3.0)
        scene.fire(within=60)
        link.mend()
        scene.fire(within=60)


for _process, _server in LINES:
    _name = f"link:{_process}/{_server}"
    ROWS[_name] = Row(
        _name,
        f"the link of {_process} to {_server}: cut, reset, slowed to 1 kB/s, half open, under fires",
        "I1 to I7",
        partial(_worry, process=_process, server=_server),
    )


@row(
    "link:half-open-for-long", "links that are half open for longer than every heartbeat, with nobody told", "I1 to I7"
)
def half_open_for_long(scene: Scene) -> None:
    scene.traffic()
    scene.fire()
    chosen = [scene.rng.choice(LINES[:2]), scene.rng.choice(LINES[2:6]), LINES[6]]
    for process, server in chosen:
        scene.stage.link(process, server).half_open()
    scene.notes.append(", ".join(f"{process}/{server}" for process, server in chosen))
    for _ in range(3):
        scene.stage.to_next_minute()
        until_after(12)
    scene.heal()
    scene.fire(within=60)
