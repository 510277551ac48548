"""What every route works with; made once for each web worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from fastapi import Request

from services.api.acknowledgements import Acknowledgements
from services.api.database import Database
from services.api.log_store import LogStore


@dataclass(frozen=True, slots=True)
class Workroom:
    """The web worker's means. `topology_declared` answers from the parent process."""

    database: Database
    acknowledgements: Acknowledgements
    logs: LogStore
    amqp_url: str
    topology_declared: Callable[[], bool]


def workroom(request: Request) -> Workroom:
    """The one of this application."""
    return cast("Workroom", request.app.state.workroom)
