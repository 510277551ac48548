"""The ingest's process: three consumers, one pool, one way to end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from libs.chassis.backoff import delays
from libs.chassis.health import HealthServer
from libs.chassis.lifecycle import Part, main, readiness
from libs.chassis.logs import get_logger
from libs.ledger.pool import DATABASE_AWAY, Pool, create_pool
from services.api.ingest.dead_letters import DeadLetterBox
from services.api.ingest.presence import Presence
from services.api.ingest.results import Results
from services.api.ingest.settings import Settings
from services.api.ingest.silence import Silence

log = get_logger(__name__)


def run() -> int:
    """Be the ingest until a signal, and answer the exit code: 0 after a signal, 1 if it ended by itself, 2 if its
    configuration is wrong. After 1 the parent starts it anew; that is also how a `basic.cancel` ends.
    """
    try:
        main("ingest", Settings, build, uvloop=True)
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else 1


async def build(settings: Settings) -> Sequence[Part]:
    """The parts, in the order in which they start."""
    pool = await _pool(settings.ingest_database_url.get_secret_value())
    url = settings.amqp_url.get_secret_value()
    presence = Presence(pool, url)
    parts: list[Part] = [
        DeadLetterBox(pool, url),
        Results(pool, url),
        presence,
        Silence(pool, hears=lambda: presence.ready),
    ]
    if settings.ingest_http_port is None:
        return parts
    return [HealthServer(settings.ingest_http_port, lambda: readiness(parts), host=settings.http_host), *parts]


async def _pool(url: str) -> Pool:
    """Waits for a database that is away; a wrong password or database passes to the caller."""
    for pause in delays():
        try:
            return await create_pool(url, application="rigbeat-ingest", most=6)
        except DATABASE_AWAY as error:
            log.warning("Without the database", error=str(error), again_in_seconds=pause)
            await asyncio.sleep(pause)
    raise AssertionError("the pauses never end")
