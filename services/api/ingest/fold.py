"""Facts of executions into the ledger: lock their rows, merge, write what changed.

A fact is never refused for what it says, only for whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from libs.contracts import AnyFact, first_id
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.core.projection import Row, mark, merge, repeats, status_of
from services.api.ingest import executions
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS


async def fold(connection: Connection, facts: Sequence[AnyFact], changes: Changes) -> dict[int, str]:
    """Fold `facts`, in their order. Answers why some could not be: index of the fact and a sentence.

    A fact of an execution without a row makes the row, if the deployment is one of the sender's host; one that is older
    than what is kept is dropped instead, and counted.
    """
    if not facts:
        return {}
    before = await executions.lock(connection, {fact.execution_id for fact in facts})
    unknown = [fact for fact in facts if fact.execution_id not in before]
    forgotten = await _forgotten(connection, unknown)
    before |= await _insert_unknown(connection, [fact for fact in unknown if fact.execution_id not in forgotten])
    after = dict(before)
    refused: dict[int, str] = {}
    repeated: list[tuple[Row, AnyFact]] = []
    for index, fact in enumerate(facts):
        if fact.execution_id in forgotten:
            changes.forgotten += 1
            continue
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


async def _forgotten(connection: Connection, unknown: Sequence[AnyFact]) -> set[UUID]:
    """Of executions without a row, those whose row was removed, or would be again. Read after the rows were looked for:
    no row is removed before it is said from when on they are kept.
    """
    if not unknown:
        return set()
    kept_from = await connection.fetchval(LEDGER.kept_from, "executions")
    if kept_from is None:
        return set()
    return {fact.execution_id for fact in unknown if fact.execution_id < first_id(kept_from)}


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
