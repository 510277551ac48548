"""`python -m services.scheduler`: one of several schedulers, all alike, none special."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from libs.chassis.health import HealthServer
from libs.chassis.lifecycle import Part, main, readiness
from libs.ledger import channels
from libs.ledger.listener import Listener
from libs.ledger.pool import await_pool
from services.scheduler.barred import Barrier
from services.scheduler.claim import Claimer
from services.scheduler.drain import Drain
from services.scheduler.scan import Scanner
from services.scheduler.settings import Settings
from services.scheduler.sweep import Sweeper
from services.scheduler.watch import Watch


async def build(settings: Settings) -> Sequence[Part]:
    """The parts, in the order in which they start."""
    url = settings.reach(settings.database_url)
    pool = await await_pool(url, application="rigbeat-scheduler", most=6)
    due, outbox, hosts = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def wake_all() -> None:
        due.set()
        outbox.set()
        hosts.set()

    parts: list[Part] = [
        Drain(
            pool,
            settings.reach(settings.amqp_url),
            batch=settings.publish_batch,
            confirm_seconds=settings.confirm_seconds,
            undeliverable_seconds=settings.undeliverable_seconds,
            wake=outbox,
        ),
        Claimer(pool, batch=settings.claim_batch, wake=due),
        Barrier(pool, wake=hosts),
        Sweeper(pool, settings, wake_outbox=outbox),
        Watch(pool),
        Scanner(url, settings),
        Listener(
            url,
            {
                channels.DUE: lambda _: due.set(),
                channels.OUTBOX: lambda _: outbox.set(),
                channels.HOSTS: lambda _: hosts.set(),
            },
            application="rigbeat-scheduler-listen",
            on_listening=wake_all,
        ),
    ]
    return [HealthServer(settings.http_port, lambda: readiness(parts), host=settings.http_host), *parts]


if __name__ == "__main__":
    main("scheduler", Settings, build, uvloop=False)
