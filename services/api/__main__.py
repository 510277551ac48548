"""`python -m services.api`: web workers on one socket, the ingest, and the retention; each a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Sequence

from libs.chassis.lifecycle import Part, main
from libs.chassis.logs import get_logger
from libs.chassis.shared_metrics import SharedMetrics
from services.api.children import SPAWN, Child, Children
from services.api.host_users import HostUsers
from services.api.settings import Settings
from services.api.topology import Declaration
from services.api.web import listen

DRAIN_SECONDS = 20.0
# The children get less than the parent, which must still see them end.
CHILDREN_DRAIN_SECONDS = 15.0


class DeclareFirst(Declaration):
    """The declaration, waited for before anything is served, but not for ever: the API works without the broker."""

    PATIENCE_SECONDS = 5.0

    async def start(self) -> None:
        """Begin, and give it five seconds."""
        await super().start()
        try:
            await asyncio.wait_for(self.declared.wait(), self.PATIENCE_SECONDS)
        except TimeoutError:
            get_logger(__name__).warning("Serving before the broker is ready; /readyz says so")


async def build(settings: Settings) -> Sequence[Part]:
    """The parts, in the order in which they start."""
    declared = SPAWN.RawArray(ctypes.c_bool, 1)  # without a lock, which a killed child could keep
    listening = listen(settings.http_host, settings.http_port)
    tls = settings.tls_cert_file is not None
    get_logger(__name__).info("Listening", host=settings.http_host, port=listening.getsockname()[1], tls=tls)

    def on_declared() -> None:
        declared[0] = True

    web = [
        Child(f"web-{number}", "services.api.web:run", (settings, listening, declared))
        for number in range(1, settings.web_workers + 1)
    ]
    shared = SharedMetrics()
    return [
        shared,
        DeclareFirst(
            settings.reach(settings.amqp_url),
            settings.reach(settings.ingest_database_url),
            on_declared,
            every_seconds=settings.declare_seconds,
        ),
        *_host_users(settings),
        Children(
            [
                *web,
                Child("ingest", "services.api.ingest.process:run"),
                Child("retention", "services.api.retention.process:run"),
            ],
            drain_seconds=CHILDREN_DRAIN_SECONDS,
            on_end=shared.forget,
        ),
    ]


def _host_users(settings: Settings) -> list[Part]:
    users = settings.broker_users()
    if users is None:
        return []
    url = settings.reach(settings.ingest_database_url)
    return [HostUsers(users, url, every_seconds=settings.declare_seconds)]


if __name__ == "__main__":
    main("api", Settings, build, drain_seconds=DRAIN_SECONDS)
