"""The same change for many deployments: each in its own transaction, so that one that fails undoes no other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, assert_never
from uuid import UUID

from libs.ledger.pool import Connection
from services.api import changes, edits, runs
from services.api.acknowledgements import Acknowledgements
from services.api.auth import Caller
from services.api.changes import Changed
from services.api.database import Database
from services.api.fencing import Fencing, fencing
from services.api.problems import REFUSALS, not_found, problem_of
from services.api.shapes.bulk import Bulk, BulkAction, BulkAnswer
from services.api.shapes.deployment import Deployment
from services.api.shapes.problem import Problem
from services.api.statements import SQL
from services.api.transactions import change

_WAITS = frozenset({BulkAction.PAUSE, BulkAction.STOP, BulkAction.DELETE})


async def bulk(
    database: Database, acknowledgements: Acknowledgements, caller: Caller, wanted: Bulk
) -> list[BulkAnswer]:
    """The answers, in the order of the ids; hosts are waited for together."""
    ids = list(dict.fromkeys(wanted.ids))
    refused: dict[UUID, Problem] = {}
    done: dict[UUID, tuple[Changed, UUID]] = {}
    ran: dict[UUID, UUID] = {}
    with fencing(database, acknowledgements, caller) as at_hosts:
        for deployment_id in ids:
            try:
                if wanted.action is BulkAction.RUN:
                    record, ran[deployment_id] = await change(
                        database, caller, partial(_run, caller=caller, deployment_id=deployment_id, wanted=wanted)
                    )
                    done[deployment_id] = Changed(record, fenced=False), ran[deployment_id]
                else:
                    done[deployment_id] = await _make(at_hosts, caller, deployment_id, wanted)
            except REFUSALS as error:
                refused[deployment_id] = problem_of(error)
        asked = [deployment_id for deployment_id, (changed, _) in done.items() if changed.asked]
        applied = await at_hosts.applied() if wanted.action in _WAITS or asked else {}
    deadline = edits.end_of_patience()
    for deployment_id in asked:
        assert wanted.patch is not None
        try:
            made = await edits.finish(
                database, caller, deployment_id, wanted.patch.given(), if_match=None, deadline=deadline
            )
            done[deployment_id] = made, done[deployment_id][1]
        except REFUSALS as error:
            refused[deployment_id] = problem_of(error)

    def answer(deployment_id: UUID) -> BulkAnswer:
        problem = refused.get(deployment_id)
        if problem is not None:
            return BulkAnswer(id=deployment_id, ok=False, problem=problem, deployment=None, execution_id=None)
        made, fence = done[deployment_id]
        acknowledged = applied.get(fence, False) if wanted.action in _WAITS else None
        if wanted.action is BulkAction.RESUME:
            acknowledged = True
        deployment = Deployment.of(made.record, host_acknowledged=acknowledged)
        return BulkAnswer(
            id=deployment_id, ok=True, problem=None, deployment=deployment, execution_id=ran.get(deployment_id)
        )

    return [answer(deployment_id) for deployment_id in ids]


async def _run(
    connection: Connection, *, caller: Caller, deployment_id: UUID, wanted: Bulk
) -> tuple[Mapping[str, Any], UUID]:
    execution = await runs.run_now(connection, caller, deployment_id, reason=wanted.reason)
    record = await connection.fetchrow(SQL.deployment, deployment_id)
    if record is None:
        raise not_found("deployment")
    return dict(record), execution["id"]


async def _make(at_hosts: Fencing, caller: Caller, deployment_id: UUID, wanted: Bulk) -> tuple[Changed, UUID]:
    async def work(connection: Connection, fence: UUID) -> Changed:
        reason = wanted.reason
        match wanted.action:
            case BulkAction.PAUSE:
                return await changes.pause(connection, caller, deployment_id, reason=reason, if_match=None, fence=fence)
            case BulkAction.RESUME:
                return await changes.resume(connection, caller, deployment_id, reason=reason, if_match=None)
            case BulkAction.STOP:
                return await changes.stop(connection, caller, deployment_id, reason=reason, if_match=None, fence=fence)
            case BulkAction.DELETE:
                return await changes.delete(
                    connection, caller, deployment_id, reason=reason, if_match=None, fence=fence
                )
            case None:
                assert wanted.patch is not None
                given = wanted.patch.given()
                return await changes.patch(connection, caller, deployment_id, given, if_match=None, fence=fence)
            case BulkAction.RUN:
                raise AssertionError("a run is no change of the deployment")
            case _:
                assert_never(wanted.action)

    return await at_hosts.make(work)
