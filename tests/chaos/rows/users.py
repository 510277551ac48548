"""People who change things in the very moment in which they fire and end; and a burst."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import httpx

from tests.chaos.row import row
from tests.chaos.rows.broker import many
from tests.chaos.rows.database import restart
from tests.chaos.scene import NEVER, Scene
from tests.support.wait import until

RACES = 1000
PAIRS = (("lab-1", "stb-1"), ("lab-1", "stb-2"), ("lab-1", "stb-3"), ("lab-2", "stb-1"))


@row(
    "users:race",
    "edit, pause, resume, stop, delete, cancel and run, a thousand times, while fires and ends go on",
    "I1 to I7",
)
def race(scene: Scene) -> None:
    names = []
    for number in range(12):
        host, device = PAIRS[number % len(PAIRS)]
        names.append(f"raced-{number}")
        scene.deploy(
            names[-1],
            host_name=host,
            device_id=device,
            seconds=scene.rng.choice([0, 0.1, 0.4]),
            on_device_busy=scene.rng.choice(["skip", "queue"]),
            max_executions=scene.rng.choice([None, None, 5]),
        )
    answers = asyncio.run(_race(scene, names))
    scene.decided()
    scene.notes.append(", ".join(f"{number} × {status}" for status, number in sorted(answers.items())))
    assert not any(status >= 500 for status in answers), answers


async def _race(scene: Scene, names: list[str]) -> Counter[int]:
    answers: Counter[int] = Counter()
    seeds = [scene.rng.randrange(1 << 30) for _ in range(8)]
    stage = scene.stage
    over = asyncio.Event()

    async def fire() -> None:
        while not over.is_set():
            await asyncio.to_thread(scene.fire)

    async def one(seed: int, client: httpx.AsyncClient) -> None:
        rng = random.Random(seed)
        for _ in range(RACES // len(seeds)):
            name = rng.choice(names)
            method, path, body = _move(rng, scene, name)
            if path.endswith("/cancel"):
                rows = await asyncio.to_thread(
                    stage.sql,
                    "SELECT id::text FROM deployment_executions WHERE deployment_id = %s ORDER BY id DESC LIMIT 1",
                    scene.deployed[name],
                )
                if not rows:
                    continue
                path = f"/executions/{rows[0][0]}/cancel"
            answer = await client.request(method, f"/api/v1{path}", json=body)
            answers[answer.status_code] += 1
            if answer.status_code == 201:
                scene.deployed[f"{name}-{answer.json()['items'][0]['id']}"] = answer.json()["items"][0]["id"]

    async with httpx.AsyncClient(
        base_url=stage.client.base_url, headers=stage.client.headers, timeout=30, trust_env=False
    ) as client:
        firing = asyncio.create_task(fire())
        try:
            await asyncio.gather(*(one(seed, client) for seed in seeds))
        finally:
            over.set()
            await firing
    return answers


def _move(rng: random.Random, scene: Scene, name: str) -> tuple[str, str, Any]:
    place = f"/deployments/{scene.deployed[name]}"
    what = rng.choices(
        ["run", "pause", "resume", "edit", "limit", "cancel", "stop", "delete"], [30, 15, 20, 10, 5, 18, 1, 1]
    )[0]
    match what:
        case "edit":
            return "PATCH", place, {"cron_expression": rng.choice(["* * * * *", "*/2 * * * *", "1-59/2 * * * *"])}
        case "limit":
            return "PATCH", place, {"max_executions": rng.choice([None, 8, 20])}
        case "delete":
            return "DELETE", place, None
        case "cancel":
            return "POST", f"{place}/cancel", None
        case "run":
            return "POST", f"{place}/run", None
        case _:
            return "POST", f"{place}/{what}", {"reason": "a race"}


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
    until(
        lambda: not scene.stage.sql("SELECT FROM outbox WHERE published_at IS NULL AND type = 'trigger.v1'"),
        within=60,
        what="all triggers are published",
    )
    scene.notes.append(f"all fired and published {time.monotonic() - began:.1f} s after the restart")
    scene.fire(within=60)
