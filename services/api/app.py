"""The HTTP application of one web worker."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import APIRouter, Depends, FastAPI

from libs.chassis.lifecycle import Part
from libs.contracts.artifacts import MOST_BYTES_EACH
from services.api import document, problems
from services.api.acknowledgements import Acknowledgements
from services.api.answer_headers import AnswerHeaders
from services.api.artifact_store import ArtifactStore
from services.api.auth import Authenticator
from services.api.body_limit import BodyLimit
from services.api.broker import Broker
from services.api.core.reference import reference
from services.api.database import Database
from services.api.enrolment import HostAccess
from services.api.failed_tries import FailedTries
from services.api.feed import Feed
from services.api.live_logs import LiveLogs
from services.api.log_store import LogStore
from services.api.object_store import open_store
from services.api.people import People
from services.api.request_metrics import RequestMetrics
from services.api.retention.files import OldFiles
from services.api.revocations import Revocations
from services.api.routes import (
    artifacts,
    audit,
    broker,
    cron,
    dead_letters,
    deployments,
    enrolment,
    events,
    executions,
    former,
    health,
    hosts,
    logs,
    operation,
    retention,
    session,
    sign_in,
    teams,
    tokens,
    why,
)
from services.api.routes.workroom import Workroom
from services.api.settings import Settings
from services.api.strict_json import unambiguous, unambiguous_also_put
from services.api.strict_transport import StrictTransport


class Flag(Protocol):
    """One truth value that may lie in shared memory."""

    def __getitem__(self, index: int, /) -> bool: ...


PREFIX = "/api/v1"
STOP_SECONDS = 5.0
_ROUTES = (
    *(deployments, executions, logs, artifacts, hosts, cron, why, events, broker, dead_letters, operation),
    *(enrolment, tokens, teams, audit, retention, session),
)
_ARTIFACT = re.compile(rf"{PREFIX}/executions/[^/]+/artifacts/.*", re.DOTALL)


def create_app(
    settings: Settings,
    *,
    topology_declared: Flag | None = None,
    on_crash: Callable[[Part], None] = lambda _part: None,
    beside: Sequence[Part] = (),
) -> FastAPI:
    """The application; its connections open when it starts and close when it ends.

    `topology_declared[0]` says whether the broker has its exchanges and queues (it may be shared with the parent).
    `on_crash` is called with a part that ended by itself. `beside` are parts that live as long as the application.
    """
    url = settings.reach(settings.database_url)
    database = Database(url, most=settings.web_database_connections)
    revocations = Revocations()
    acknowledgements = Acknowledgements(url, revocations)
    feed = Feed(settings.reach(settings.ingest_database_url))
    amqp_url = settings.reach(settings.amqp_url)
    queues = Broker(amqp_url, time.monotonic)
    live_logs = LiveLogs(amqp_url)
    store = open_store(settings.artifacts_url)
    parts: tuple[Part, ...] = (database, acknowledgements, *feed.parts(), live_logs, *beside)

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
        # Their pages load a script from elsewhere, which could do here whatever the person may who looks at them.
        docs_url=None,
        redoc_url=None,
    )
    app.state.workroom = Workroom(
        database=database,
        acknowledgements=acknowledgements,
        revocations=revocations,
        feed=feed,
        broker=queues,
        host_access=HostAccess(settings.broker_users(), settings.address_for_hosts()),
        logs=LogStore(store),
        live_logs=live_logs,
        artifacts=ArtifactStore(store),
        old_files=OldFiles(store),
        amqp_url=amqp_url,
        topology_declared=lambda: topology_declared is not None and bool(topology_declared[0]),
    )
    issuer, rules = settings.issuer(), settings.session_rules()
    people = People(issuer, time.monotonic, settings.trusted) if issuer is not None else None
    app.state.session_rules = rules
    app.state.authenticator = Authenticator(database, FailedTries(), people, rules.idle)
    problems.install(app)
    api = APIRouter(prefix=PREFIX, responses=document.PROBLEMS, dependencies=[Depends(unambiguous)])
    for routes in _ROUTES:
        api.include_router(routes.router)
    app.include_router(api)
    app.include_router(former.router, responses=document.FORMER_REFUSALS, dependencies=[Depends(unambiguous_also_put)])
    app.include_router(health.router)
    app.include_router(sign_in.router)
    app.add_middleware(BodyLimit, streamed={_ARTIFACT: MOST_BYTES_EACH})
    app.add_middleware(RequestMetrics)
    app.add_middleware(StrictTransport)
    app.add_middleware(AnswerHeaders)
    document.complete(app)
    app.state.reference = functools.cache(lambda: reference(app.openapi()))  # a quarter of a megabyte, the same for all
    return app


def _ended(part: Part, on_crash: Callable[[Part], None], _task: asyncio.Task[None]) -> None:
    if not part.stopping.is_set():
        on_crash(part)
