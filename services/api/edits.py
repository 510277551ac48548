"""Edits, one of which may need its host: a limit that what was sent to the host could still pass.

Such a limit is lowered in two steps. First a fence takes back what waits at the host and what is on its way there; the
limit stays. When the host has said what became of all that, the limit is written, or refused for what has started
meanwhile. So a limit that was answered with 2xx is never passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.api import changes
from services.api.acknowledgements import WAIT_SECONDS, Acknowledgements
from services.api.auth import Caller
from services.api.changes import Changed, NotToldYetError
from services.api.database import Database
from services.api.fencing import fencing
from services.api.transactions import change

_LOOK_AGAIN_SECONDS = 0.1


async def edit(
    database: Database,
    acknowledgements: Acknowledgements,
    caller: Caller,
    deployment_id: UUID,
    given: Mapping[str, Any],
    *,
    if_match: str | None,
) -> Mapping[str, Any]:
    """The deployment after the edit. Raises what `changes.patch` does; takes some seconds when the host is asked."""
    with fencing(database, acknowledgements, caller) as at_hosts:
        done, _ = await at_hosts.make(
            lambda connection, fence: changes.patch(
                connection, caller, deployment_id, dict(given), if_match=if_match, fence=fence
            )
        )
        if not done.asked:
            return done.record
        await at_hosts.applied()
    if if_match is not None:
        if_match = f'"{done.record["version"]}"'
    done = await finish(database, caller, deployment_id, given, if_match=if_match, deadline=end_of_patience())
    return done.record


def end_of_patience() -> float:
    """Until when, on the clock of the loop, hosts may tell what became of what they had."""
    return asyncio.get_running_loop().time() + WAIT_SECONDS


async def finish(
    database: Database,
    caller: Caller,
    deployment_id: UUID,
    given: Mapping[str, Any],
    *,
    if_match: str | None,
    deadline: float,
) -> Changed:
    """The second step, as soon as the host has told enough."""
    while True:
        try:
            return await change(
                database,
                caller,
                lambda connection: changes.patch(
                    connection, caller, deployment_id, dict(given), if_match=if_match, fence=None
                ),
            )
        except NotToldYetError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
