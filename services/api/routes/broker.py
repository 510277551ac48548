"""`/broker`: what waits at the broker, and who takes it."""

from __future__ import annotations

from fastapi import APIRouter, Request

from libs.chassis.errors import Transient
from libs.contracts.topology import (
    DEAD_LETTERS,
    HOSTS_PRESENCE,
    RESULTS_PERSIST,
    commands_queue,
    triggers_queue,
)
from services.api.auth import Viewer
from services.api.broker import Depth
from services.api.problems import unavailable
from services.api.routes.workroom import workroom
from services.api.shapes.broker import BrokerView, HostQueues
from services.api.statements import SQL
from services.api.transactions import transaction

router = APIRouter(tags=["broker"])

_CENTRAL = (RESULTS_PERSIST, HOSTS_PRESENCE, DEAD_LETTERS)


@router.get("/broker")
async def read(request: Request, caller: Viewer) -> BrokerView:
    """Queue depths and consumers, for each host that the team may use, at most two seconds old."""
    room = workroom(request)
    async with transaction(room.database, caller) as connection:
        hosts = [record["name"] for record in await connection.fetch(SQL.hosts_with_queues)]
        open_letters = await connection.fetchval(SQL.open_dead_letters)
    queues = [queue for host in hosts for queue in (triggers_queue(host), commands_queue(host))]
    try:
        found = await room.broker.depths([*_CENTRAL, *queues])
    except Transient:
        raise unavailable("The broker is away") from None
    results, presence, dead = (found[queue] for queue in _CENTRAL)
    return BrokerView(
        hosts=[
            HostQueues(
                name=host,
                triggers=_ready(found[triggers_queue(host)]),
                commands=_ready(found[commands_queue(host)]),
                consumers=_consumers(found[triggers_queue(host)]),
            )
            for host in hosts
        ],
        results=_ready(results),
        results_consumers=_consumers(results),
        presence=_ready(presence),
        presence_consumers=_consumers(presence),
        dead_letters=_ready(dead),
        dead_letters_consumers=_consumers(dead),
        dead_letters_open=open_letters,
    )


def _ready(depth: Depth | None) -> int | None:
    return None if depth is None else depth.ready


def _consumers(depth: Depth | None) -> int | None:
    return None if depth is None else depth.consumers
