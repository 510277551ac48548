"""What every route works with; made once for each web worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from fastapi import Request

from services.api.acknowledgements import Acknowledgements
from services.api.artifact_store import ArtifactStore
from services.api.broker import Broker
from services.api.database import Database
from services.api.enrolment import HostAccess
from services.api.feed import Feed
from services.api.live_logs import LiveLogs
from services.api.log_store import LogStore
from services.api.retention.files import OldFiles
from services.api.revocations import Revocations


@dataclass(frozen=True, slots=True)
class Workroom:
    """The web worker's means. `topology_declared` answers from the parent process."""

    database: Database
    acknowledgements: Acknowledgements
    revocations: Revocations
    feed: Feed
    broker: Broker
    host_access: HostAccess
    logs: LogStore
    live_logs: LiveLogs
    artifacts: ArtifactStore
    old_files: OldFiles
    amqp_url: str
    topology_declared: Callable[[], bool]


def workroom(request: Request) -> Workroom:
    """The one of this application."""
    return cast("Workroom", request.app.state.workroom)
