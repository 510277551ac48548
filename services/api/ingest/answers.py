"""What hosts did with commands (`command.applied`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from libs.contracts import CommandApplied, CommandResult, Resend, Void, manual_id
from libs.ledger import channels
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pool import Connection
from libs.ledger.statements import STATEMENTS as LEDGER
from services.api.core.projection import confirm
from services.api.ingest import executions
from services.api.ingest.executions import Changes
from services.api.ingest.statements import STATEMENTS


async def apply(connection: Connection, answers: Sequence[CommandApplied], changes: Changes, now: datetime) -> None:
    """Mark the commands and wake who waits for them.

    A voided execution that its host does not know ends for good. Of one that it holds, and of which the ledger has
    heard nothing, the host is asked to tell again.
    """
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
    unknown, held = _about(answers, CommandResult.UNKNOWN), _about(answers, CommandResult.HELD)
    rows = await executions.lock(connection, {execution for execution, _ in unknown | held})
    finals = [(row, confirm(row)) for row in rows.values() if (row.id, row.host_name) in unknown]
    await executions.write(connection, finals, changes)
    # Whoever holds it has said so, or will: what was said may have been lost with the broker's data.
    unheard = {row.host_name: row.team_id for row in rows.values() if row.presumed and (row.id, row.host_name) in held}
    await _ask_again(connection, unheard, now)


def _about(answers: Sequence[CommandApplied], result: CommandResult) -> set[tuple[UUID, str]]:
    """The executions, each with who answered, of which a host was asked whether it has them, and said `result`."""
    return {
        (answer.execution_id, answer.host)
        for answer in answers
        if answer.command == Void.type and answer.result is result and answer.execution_id is not None
    }


async def _ask_again(connection: Connection, hosts: Mapping[str, UUID], now: datetime) -> None:
    """Hosts, each with a team, send their kept events once more, unless they are asked to already."""
    if not hosts:
        return
    asked = {record["host_name"] for record in await connection.fetch(STATEMENTS.asked_to_resend, list(hosts))}
    await enclose(
        connection,
        [
            Parcel(team, Resend(command_id=manual_id(now, os.urandom(10)), host=host))
            for host, team in hosts.items()
            if host not in asked
        ],
    )
