"""People who change things in the very moment in which they fire and end; and a burst."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from itertools import count
from typing import Any

import httpx

from tests.chaos.row import row
from tests.chaos.rows.broker import many
from tests.chaos.rows.database import restart
from tests.chaos.scene import NEVER, Scene
from tests.support.wait import until

RACES = 1000
WEIGHTS = {"run": 28, "pause": 14, "resume": 20, "edit": 10, "limit": 5, "cancel": 17, "stop": 3, "delete": 3}
LEAST = {"run": 50, "pause": 30, "resume": 30, "edit": 30, "cancel": 10, "stop": 5, "delete": 5}
"""So many of each must have been done and not refused."""
PAIRS = (("lab-1", "stb-1"), ("lab-1", "stb-2"), ("lab-1", "stb-3"), ("lab-2", "stb-1"))


@row(
    "users:race",
    "edit, pause, resume, stop, delete, cancel and run, a thousand times, while fires and ends go on",
    "I1 to I7",
)
def race(scene: Scene) -> None:
    names = [f"raced-{number}" for number in range(12)]
    for number, name in enumerate(names):
        _deploy(scene, name, number, scene.rng)
    answers = asyncio.run(_race(scene, names))
    scene.decided()
    done = Counter(kind for kind, status in answers.elements() if status < 300)
    refused = sum(number for (_, status), number in answers.items() if 400 <= status < 500)
    told = ", ".join(f"{number} × {kind}" for kind, number in done.most_common())
    scene.notes.append(f"{told}; {refused} refused")
    assert not any(status >= 500 for _, status in answers), answers
    assert all(done[kind] >= least for kind, least in LEAST.items()), done


def _deploy(scene: Scene, name: str, number: int, rng: random.Random) -> None:
    host, device = PAIRS[number % len(PAIRS)]
    scene.deploy(
        name,
        host_name=host,
        device_id=device,
        seconds=rng.choice([0, 0.1, 0.4]),
        on_device_busy=rng.choice(["skip", "queue"]),
        max_executions=rng.choice([None, None, 5]),
    )


async def _race(scene: Scene, names: list[str]) -> Counter[tuple[str, int]]:
    answers: Counter[tuple[str, int]] = Counter()
    seeds = [scene.rng.randrange(1 << 30) for _ in range(8)]
    stage = scene.stage
    over = asyncio.Event()
    numbers = count(len(names))
    replaced = set[str]()

    async def fire() -> None:
        while not over.is_set():
            await asyncio.to_thread(scene.fire)

    async def one(seed: int, client: httpx.AsyncClient) -> None:
        rng = random.Random(seed)
        for _ in range(RACES // len(seeds)):
            place = rng.randrange(len(names))
            name = names[place]
            what, method, path, body = _move(rng, scene, name)
            if what == "cancel":
                rows = await asyncio.to_thread(
                    stage.sql,
                    "SELECT id::text FROM deployment_executions WHERE deployment_id = %s ORDER BY id DESC LIMIT 1",
                    scene.deployed[name],
                )
                if not rows:
                    continue
                path = f"/executions/{rows[0][0]}/cancel"
            answer = await client.request(method, f"/api/v1{path}", json=body)
            answers[what, answer.status_code] += 1
            if name not in replaced and await _is_over(client, scene.deployed[name]) and name not in replaced:
                # Else ever more of the moves would be refused, since there is nothing left to move.
                replaced.add(name)
                following = f"raced-{next(numbers)}"
                await asyncio.to_thread(_deploy, scene, following, place, rng)
                names[place] = following

    async with httpx.AsyncClient(**stage.people(30)) as client:
        firing = asyncio.create_task(fire())
        try:
            await asyncio.gather(*(one(seed, client) for seed in seeds))
        finally:
            over.set()
            await firing
    return answers


async def _is_over(client: httpx.AsyncClient, deployment: str) -> bool:
    seen = await client.get(f"/api/v1/deployments/{deployment}")
    return seen.status_code == httpx.codes.NOT_FOUND or seen.json()["status"] in {"stopped", "completed"}


def _move(rng: random.Random, scene: Scene, name: str) -> tuple[str, str, str, Any]:
    place = f"/deployments/{scene.deployed[name]}"
    what = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    match what:
        case "edit":
            return what, "PATCH", place, {"cron_expression": rng.choice(["* * * * *", "*/2 * * * *", "1-59/2 * * * *"])}
        case "limit":
            return what, "PATCH", place, {"max_executions": rng.choice([None, 8, 20])}
        case "delete":
            return what, "DELETE", place, None
        case "cancel":
            return what, "POST", f"{place}/cancel", None
        case "run":
            return what, "POST", f"{place}/run", None
        case _:
            return what, "POST", f"{place}/{what}", {"reason": "a race"}


@row(
    "users:pause-unheard",
    "a pause while the host is away: the trigger that waits for it is refused",
    "I1, I7",
    drawn=False,
)
def pause_unheard(scene: Scene) -> None:
    scene.deploy("paused", cron_expression=NEVER)
    scene.deploy("goes-on", device_id="stb-2", cron_expression=NEVER)
    with scene.stage.actor("runner-lab-1").held():
        waiting, other = scene.run("paused"), scene.run("goes-on")
        until(
            lambda: not scene.stage.sql("SELECT FROM outbox WHERE published_at IS NULL"),
            within=20,
            what="the triggers are published",
        )
        told = scene.stage.call_patiently("POST", f"/deployments/{scene.deployed['paused']}/pause")
        assert told["host_acknowledged"] is False, told
    ended = scene.wait_for(waiting["id"], "skipped", "completed", "failed")
    assert (ended["status"], ended["reason"]) == ("skipped", "paused"), (
        f"I1: a trigger from before the pause ran: {ended}"
    )
    scene.wait_for(other["id"], "completed")


@row(
    "users:slot",
    "many triggers of one deployment while one of it runs: one waits, the others are skipped, none is forgotten",
    "I1, I2, I4",
)
def slot(scene: Scene) -> None:
    names = [f"slot-{number}" for number in range(len(PAIRS))]
    for name, (host, device) in zip(names, PAIRS, strict=True):
        scene.deploy(name, host_name=host, device_id=device, cron_expression=NEVER, seconds=5.0, on_device_busy="queue")
    for run in [scene.run(name) for name in names]:
        scene.wait_for(run["id"], "running")
    for _ in range(4):
        for name in names:
            scene.run(name)
        scene.some_time(0, 0.2)
    for name in names:
        until(
            lambda name=name: scene.outcomes(name) == {("completed", ""): 2, ("skipped", "already_queued"): 3},  # type: ignore[misc]
            within=30,
            what=f"I2: {name} ran, ran what waited, and skipped the other three",
        )


@row("users:limit", "a limit of three, and more fires than that while earlier ones still run", "I5")
def limit(scene: Scene) -> None:
    for number, (host, device) in enumerate(PAIRS):
        scene.deploy(
            f"limited-{number}", host_name=host, device_id=device, max_executions=3, on_device_busy="queue", seconds=1.0
        )
    for _ in range(8):
        scene.fire()
        scene.some_time(0, 0.8)
    for number in range(len(PAIRS)):
        name = f"limited-{number}"
        place = f"/deployments/{scene.deployed[name]}"
        until(
            lambda place=place: scene.stage.call("GET", place)["status"] == "completed",  # type: ignore[misc]
            within=30,
            what=f"{name} has reached its limit",
        )
        ran = sum(count for (status, _), count in scene.outcomes(name).items() if status in {"completed", "failed"})
        assert ran == 3, f"I5: {name} ran {ran} times of 3"


@row(
    "burst:postgres-restarts",
    "2,000 deployments fire together while PostgreSQL restarts",
    "I1, I6, I7",
    ends_dirty=True,
)
def burst(scene: Scene) -> None:
    many(scene, 2000)
    scene.stage.to_next_minute()
    scene.some_time(0.35, 0.9)
    restart(scene.stage)
    began = time.monotonic()
    scene.decided(60)
    scene.published(60)
    scene.notes.append(f"all fired and published {time.monotonic() - began:.1f} s after the restart")
    scene.fire(within=60)
