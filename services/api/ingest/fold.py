"""Facts of executions into the ledger: lock their rows, merge, write what changed.

A fact is never refused for what it says, only for whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from libs.contracts import AnyFact
from libs.ledger.pool import Connection
from services.api.core.projection import Row, mark, merge, repeats, status_of
from services.api.ingest import executions
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS


async def fold(connection: Connection, facts: Sequence[AnyFact], changes: Changes) -> dict[int, str]:
    """Fold `facts`, in their order. Answers why some could not be: index of the fact and a sentence.

    A fact of an execution without a row makes the row, if the deployment is one of the sender's host.
    """
    if not facts:
        return {}
    before = await executions.lock(connection, {fact.execution_id for fact in facts})
    before |= await _insert_unknown(connection, [fact for fact in facts if fact.execution_id not in before])
    after = dict(before)
    refused: dict[int, str] = {}
    repeated: list[tuple[Row, AnyFact]] = []
    for index, fact in enumerate(facts):
        why = _why_not(before, fact)
        if why is None:
            if repeats(after[fact.execution_id], fact):
                repeated.append((after[fact.execution_id], fact))
            after[fact.execution_id] = merge(after[fact.execution_id], fact)
        else:
            refused[index] = why
    await executions.write(connection, [(row, after[identity]) for identity, row in before.items()], changes)
    if repeated:
        await _write_down(connection, repeated)
    return refused


async def _write_down(connection: Connection, repeated: Sequence[tuple[Row, AnyFact]]) -> None:
    """Hosts ended what they had ended before: nothing follows from it here, the checks of the invariants tell it."""
    marks = [mark(fact) for _, fact in repeated]
    await connection.execute(
        STATEMENTS.insert_repeated_endings,
        [row.id for row, _ in repeated],
        [one.journal_id for one in marks],
        [one.sequence for one in marks],
        [row.team_id for row, _ in repeated],
        [row.host_name for row, _ in repeated],
        [status_of(fact) for _, fact in repeated],
    )


def _why_not(rows: Mapping[UUID, Row], fact: AnyFact) -> str | None:
    row = rows.get(fact.execution_id)
    if row is None:
        return f"unknown deployment: {fact.host} has no deployment {fact.deployment_id}"
    if row.deployment_id != fact.deployment_id:
        return f"wrong deployment: execution {row.id} is of deployment {row.deployment_id}, not {fact.deployment_id}"
    if row.host_name != fact.host:
        return f"wrong host: execution {row.id} belongs to {row.host_name}, not {fact.host}"
    return None


async def _insert_unknown(connection: Connection, facts: Sequence[AnyFact]) -> dict[UUID, Row]:
    if not facts:
        return {}
    # A false word about an id must not stand before a true one, so each teller counts once.
    told = list({(fact.execution_id, fact.deployment_id, fact.host): fact for fact in reversed(facts)}.values())
    await connection.execute(
        STATEMENTS.insert_unknown,
        [fact.execution_id for fact in told],
        [fact.deployment_id for fact in told],
        [fact.scheduled_at for fact in told],
        [fact.kind for fact in told],
        [fact.version for fact in told],
        [fact.host for fact in told],
        [fact.device_id for fact in told],
        [fact.script_name for fact in told],
    )
    return await executions.lock(connection, {fact.execution_id for fact in told})
