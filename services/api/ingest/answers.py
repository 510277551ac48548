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
    # By host too: another host's answer to a command must not stand before its own host's.
    first: dict[tuple[UUID, str], CommandApplied] = {}
    for answer in answers:
        first.setdefault((answer.command_id, answer.host), answer)
    marked = await connection.fetch(
        STATEMENTS.mark_applied,
        [command for command, _ in first],
        [host for _, host in first],
        [answer.result for answer in first.values()],
        now,
    )
    for record in marked:
        await connection.execute(LEDGER.notify, channels.APPLIED, str(record["message_id"]))
    unknown = {
        (answer.execution_id, answer.host)
        for answer in answers
        if answer.command == Void.type and answer.result is CommandResult.UNKNOWN and answer.execution_id is not None
    }
    rows = await executions.lock(connection, {execution for execution, _ in unknown})
    finals = [(row, confirm(row)) for row in rows.values() if (row.id, row.host_name) in unknown]
    await executions.write(connection, finals, changes)
