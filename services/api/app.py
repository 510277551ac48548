"""The HTTP application of one web worker."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import APIRouter, Depends, FastAPI

from libs.chassis.lifecycle import Part
from libs.contracts.artifacts import MOST_BYTES_EACH
from services.api import document, problems
from services.api.acknowledgements import Acknowledgements
from services.api.artifact_store import ArtifactStore
from services.api.auth import Authenticator
from services.api.body_limit import BodyLimit
from services.api.broker import Broker
from services.api.database import Database
from services.api.feed import Feed
from services.api.live_logs import LiveLogs
from services.api.log_store import LogStore
from services.api.object_store import open_store
from services.api.request_metrics import RequestMetrics
from services.api.routes import (
    artifacts,
    broker,
    cron,
    dead_letters,
    deployments,
    events,
    executions,
    health,
    hosts,
    logs,
    operation,
    why,
)
from services.api.routes.workroom import Workroom
from services.api.settings import Settings
from services.api.strict_json import unambiguous


class Flag(Protocol):
    """One truth value that may lie in shared memory."""

    def __getitem__(self, index: int, /) -> bool: ...


PREFIX = "/api/v1"
STOP_SECONDS = 5.0
_ARTIFACT = re.compile(rf"{PREFIX}/executions/[^/]+/artifacts/.*", re.DOTALL)


def create_app(
    settings: Settings,
    *,
    topology_declared: Flag | None = None,
    on_crash: Callable[[Part], None] = lambda _part: None,
) -> FastAPI:
    """The application; its connections open when it starts and close when it ends.

    `topology_declared[0]` says whether the broker has its exchanges and queues (it may be shared with the parent).
    `on_crash` is called with a part that ended by itself.
    """
    url = settings.database_url.get_secret_value()
    database = Database(url, most=settings.web_database_connections)
    acknowledgements = Acknowledgements(url)
    feed = Feed(settings.ingest_database_url.get_secret_value())
    queues = Broker(settings.amqp_url.get_secret_value(), time.monotonic)
    live_logs = LiveLogs(settings.amqp_url.get_secret_value())
    store = open_store(settings.artifacts_url)
    parts: tuple[Part, ...] = (database, acknowledgements, *feed.parts(), live_logs)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for part in parts:
            await part.start()
            assert part.task is not None
            part.task.add_done_callback(functools.partial(_ended, part, on_crash))
        try:
            yield
        finally:
            for part in reversed(parts):
                await part.stop(STOP_SECONDS)
            await queues.close()

    app = FastAPI(
        title="Rigbeat",
        summary="A distributed cron for device labs",
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.workroom = Workroom(
        database=database,
        acknowledgements=acknowledgements,
        feed=feed,
        broker=queues,
        logs=LogStore(store),
        live_logs=live_logs,
        artifacts=ArtifactStore(store),
        amqp_url=settings.amqp_url.get_secret_value(),
        topology_declared=lambda: topology_declared is not None and bool(topology_declared[0]),
    )
    app.state.authenticator = Authenticator(database, time.monotonic)
    problems.install(app)
    api = APIRouter(prefix=PREFIX, responses=document.PROBLEMS, dependencies=[Depends(unambiguous)])
    for routes in (deployments, executions, logs, artifacts, hosts, cron, why, events, broker, dead_letters, operation):
        api.include_router(routes.router)
    app.include_router(api)
    app.include_router(health.router)
    app.add_middleware(BodyLimit, streamed={_ARTIFACT: MOST_BYTES_EACH})
    app.add_middleware(RequestMetrics)
    document.complete(app)
    return app


def _ended(part: Part, on_crash: Callable[[Part], None], _task: asyncio.Task[None]) -> None:
    if not part.stopping.is_set():
        on_crash(part)
