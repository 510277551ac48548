"""The ingest's process: three consumers, each watched, one pool, one way to end."""

from __future__ import annotations

from collections.abc import Sequence

from libs.chassis.amqp.apart import PublisherApart
from libs.chassis.health import HealthServer
from libs.chassis.lifecycle import Part, main, readiness
from libs.ledger.pool import await_pool
from services.api.ingest.caught_up import CaughtUp
from services.api.ingest.dead_letters import DeadLetterBox
from services.api.ingest.presence import Presence
from services.api.ingest.results import Results
from services.api.ingest.session import Watch
from services.api.ingest.settings import Settings
from services.api.ingest.silence import Silence


def run() -> int:
    """Be the ingest until a signal, and answer the exit code: 0 after a signal, 1 if it ended by itself, 2 if its
    configuration is wrong. After 1 the parent starts it anew; that is also how a `basic.cancel` ends,
    and a consumer that the broker gives nothing any more.
    """
    try:
        main("ingest", Settings, build, uvloop=True)
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else 1


async def build(settings: Settings) -> Sequence[Part]:
    """The parts, in the order in which they start."""
    pool = await await_pool(settings.reach(settings.ingest_database_url), application="rigbeat-ingest", most=6)
    url = settings.reach(settings.amqp_url)
    echoes = PublisherApart(url, "rigbeat-ingest-echoes")
    watch = Watch(echoes, settings.watchdog_seconds)
    results, presence = Results(pool, url, watch), Presence(pool, url, watch)
    parts: list[Part] = [
        echoes,
        DeadLetterBox(pool, url, watch),
        results,
        presence,
        CaughtUp(pool, url, is_stuck=results.is_stuck),
        Silence(pool, hears=lambda: presence.ready),
    ]
    if settings.ingest_http_port is None:
        return parts
    return [HealthServer(settings.ingest_http_port, lambda: readiness(parts), host=settings.http_host), *parts]
