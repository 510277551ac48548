"""What hosts did with commands (`command.applied`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.contracts import CommandApplied, CommandResult, Void
from libs.ledger import channels
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.core.projection import confirm
from services.api.ingest import executions
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS


async def apply(connection: Connection, answers: Sequence[CommandApplied], changes: Changes, now: datetime) -> None:
    """Mark the commands and wake who waits for them. A voided execution that its host does not know ends for good."""
    if not answers:
        return
    first: dict[UUID, CommandApplied] = {}
    for answer in answers:
        first.setdefault(answer.command_id, answer)
    ids = sorted(first)
    marked = await connection.fetch(
        STATEMENTS.mark_applied, ids, [first[key].host for key in ids], [first[key].result for key in ids], now
    )
    for record in marked:
        await connection.execute(LEDGER.notify, channels.APPLIED, str(record["message_id"]))
    unknown = {
        answer.execution_id: answer.host
        for answer in answers
        if answer.command == Void.type and answer.result is CommandResult.UNKNOWN and answer.execution_id is not None
    }
    rows = await executions.lock(connection, unknown)
    finals = [(row, confirm(row)) for row in rows.values() if row.host_name == unknown[row.id]]
    await executions.write(connection, finals, changes)
