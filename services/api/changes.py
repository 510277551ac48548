"""Changes of a deployment: decided under its row lock, at the database's time, after the fires that were due before.

One transaction each: lock, read the time, decide what is due by the old rules, write the change with a new version, its
history, the fence and the notice for the host, the audit and the feed. So no edit swallows a fire and no fire overtakes
an edit. What was held back for catch-up ends here, and never reaches the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asyncpg import UniqueViolationError

from libs.contracts import Change, DeploymentStatus, Fence, Reason
from libs.ledger import channels
from libs.ledger.decisions import note, tell_host
from libs.ledger.outbox import Parcel, enclose
from libs.ledger.pausing import drop_held, drop_newest_held
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS
from libs.schedule import resolve_hash
from services.api.auth import Caller
from services.api.core import edit
from services.api.core.difference import difference, in_detail, in_words
from services.api.held import Held, hold_at, require, require_usable, wrong_state
from services.api.problems import ProblemError, invalid
from services.api.shapes.problem import FieldError, Kind
from services.api.statements import SQL

_CHANGED_COLUMNS = (
    *("name", "userinterface_name", "parameters", "cron_expression", "timezone", "start_date", "end_date"),
    *("max_executions", "status", "status_reason", "status_by", "catch_up", "catch_up_window_seconds"),
    *("on_device_busy", "max_wait_seconds", "timeout_seconds", "silence_timeout_seconds", "counted_from"),
    *("next_fire_at", "next_due_at", "deleted_at"),
)
_CHANGES = {"edit": Change.EDITED, "delete": Change.DELETED}


@dataclass(frozen=True, slots=True)
class Changed:
    """The deployment after the change; `fenced`: its host was sent the command and is there to answer it.

    `asked`: nothing was changed yet but the version; what the host says comes first.
    """

    record: Mapping[str, Any]
    fenced: bool
    asked: bool = False


class NotToldYetError(ProblemError):
    """What was sent to a host may still start, and the host has not said whether it did."""

    def __init__(self, held: Held, limit: int, sent: int) -> None:
        host, before = held.record["host_name"], held.record["max_executions"]
        silence = "has not said yet whether it does" if held.record["host_online"] else "is offline"
        standing = "there is no limit" if before is None else f"the limit stays {before}"
        super().__init__(
            Kind.LIMIT_REACHED,
            f"{_executions(sent)} sent to {host} may still start, and {host} {silence}; {standing}",
            [
                FieldError(
                    field="max_executions",
                    message=f"{limit} could be passed by what is under way",
                    hint="Try again in a moment, or stop the deployment.",
                )
            ],
        )


def _executions(number: int) -> str:
    return "1 execution that was" if number == 1 else f"{number} executions that were"


async def pause(
    connection: Connection,
    caller: Caller,
    deployment_id: UUID,
    *,
    reason: str | None,
    if_match: str | None,
    fence: UUID,
) -> Changed:
    """Fire no more until resumed; what waits at the host is dropped."""
    held = await hold_at(connection, deployment_id, if_match)
    require(held, DeploymentStatus.PAUSED)
    values = edit.paused(held.record, caller.name, reason)
    return await _write(connection, caller, held, "pause", values, reason=reason, fence=(fence, Reason.PAUSED))


async def resume(
    connection: Connection, caller: Caller, deployment_id: UUID, *, reason: str | None, if_match: str | None
) -> Changed:
    """Fire again from now on."""
    held = await hold_at(connection, deployment_id, if_match)
    require(held, DeploymentStatus.ACTIVE)
    await require_usable(connection, held)
    end = held.record["end_date"]
    if end is not None and end <= held.now:
        raise ProblemError(Kind.WRONG_STATE, "Its end date has passed; set a later one first")
    values = edit.resumed(held.record, caller.name, held.now)
    return await _write(connection, caller, held, "resume", values, reason=reason)


async def stop(
    connection: Connection,
    caller: Caller,
    deployment_id: UUID,
    *,
    reason: str | None,
    if_match: str | None,
    fence: UUID,
) -> Changed:
    """End it for good; a running script may end by itself."""
    held = await hold_at(connection, deployment_id, if_match)
    require(held, DeploymentStatus.STOPPED)
    values = edit.stopped(caller.name, reason)
    return await _write(connection, caller, held, "stop", values, reason=reason, fence=(fence, Reason.STOPPED))


async def delete(
    connection: Connection,
    caller: Caller,
    deployment_id: UUID,
    *,
    reason: str | None,
    if_match: str | None,
    fence: UUID,
) -> Changed:
    """Stop it and take it out of the lists; its history stays. The second time does nothing."""
    held = await hold_at(connection, deployment_id, if_match)
    if held.record["deleted_at"] is not None:
        return Changed(held.record, fenced=False)
    values = edit.deleted(held.record, caller.name, reason, held.now)
    return await _write(connection, caller, held, "delete", values, reason=reason, fence=(fence, Reason.DELETED))


async def patch(
    connection: Connection,
    caller: Caller,
    deployment_id: UUID,
    given: dict[str, Any],
    *,
    if_match: str | None,
    fence: UUID | None,
) -> Changed:
    """Edit it. Raises `invalid-input` for what does not fit together, `limit-reached` below what already counts.

    A limit that what was sent could pass is not lowered before the host has told what became of that: then the host is
    fenced with `fence` (`asked`), and the caller is to call again, with None. Raises `NotToldYetError` when it is still
    not told, or the host is away.
    """
    held = await hold_at(connection, deployment_id, if_match)
    if held.record["deleted_at"] is not None or not edit.may_become(held.status, DeploymentStatus.STOPPED):
        raise wrong_state(held, "edited")
    merged = {**held.record, **given}
    if "cron_expression" in given:
        given["cron_expression"] = resolve_hash(given["cron_expression"], f"{merged['team_id']}/{merged['name']}")
    end_is_new = given.get("end_date", held.record["end_date"]) != held.record["end_date"]
    faults = edit.date_faults(merged["start_date"], merged["end_date"], held.now, end_is_new=end_is_new)
    if faults:
        raise invalid([FieldError(field=each.field, message=each.message, hint=each.hint) for each in faults])
    before, after = held.record["max_executions"], merged["max_executions"]
    if edit.lowers_limit(before, after):
        await _refuse_below_what_counts(connection, held, after)
        # Only a limit that what is under way could pass takes anything away: first what was never sent, the newest of
        # it, then, from the host, what waits there.
        surplus = await _may_count(connection, held) - after
        if surplus > 0:
            await drop_newest_held(connection, deployment_id, surplus, Reason.LIMIT_REACHED, held.now)
            if await _may_count(connection, held) > after:
                return await _ask(connection, caller, held, after, fence)
    values = edit.edited(held.record, given, caller.name, held.now)
    if not values:
        return Changed(held.record, fenced=False)
    changes = difference(held.record, values, given.keys() & values.keys())
    return await _write(
        connection,
        caller,
        held,
        "edit",
        values,
        detail=in_detail(changes),
        message=in_words(changes),
    )


async def _ask(connection: Connection, caller: Caller, held: Held, limit: int, fence: UUID | None) -> Changed:
    """Let the host give back what it has not started: with a version of its own, so that later fires may run."""
    if fence is None or not held.record["host_online"]:
        running: int = await connection.fetchval(SQL.running, held.record["id"])
        sent = await _may_count(connection, held) - held.record["execution_count"] - running
        raise NotToldYetError(held, limit, sent)
    record = await _next_version(connection, held, {})
    await _fence(connection, held, record, fence, Reason.LIMIT_REACHED)
    told = {"version": record["version"], "limit": limit}
    await _audit(connection, caller, held, "withdraw", record, told)
    return Changed(record, fenced=True, asked=True)


async def _may_count(connection: Connection, held: Held) -> int:
    under_way: int = await connection.fetchval(SQL.under_way, held.record["id"])
    return under_way + int(held.record["execution_count"])


async def _refuse_below_what_counts(connection: Connection, held: Held, limit: int) -> None:
    running: int = await connection.fetchval(SQL.running, held.record["id"])
    counted = held.record["execution_count"]
    if limit < counted + running:
        raise ProblemError(
            Kind.LIMIT_REACHED,
            f"{counted} {'execution counts' if counted == 1 else 'executions count'} already and {running}"
            f" {'is' if running == 1 else 'are'} running; the limit cannot be lower",
            [
                FieldError(
                    field="max_executions",
                    message=f"{limit} is below {counted + running}",
                    hint=f"Choose {counted + running} or more, or stop the deployment.",
                )
            ],
        )


async def _write(
    connection: Connection,
    caller: Caller,
    held: Held,
    action: str,
    values: Mapping[str, Any],
    *,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
    message: str | None = None,
    fence: tuple[UUID, Reason] | None = None,
) -> Changed:
    record = await _next_version(connection, held, values)
    if fence is not None:
        await _fence(connection, held, record, *fence)
    row, status = DeploymentRow.of(record), DeploymentStatus(record["status"])
    notices = [(row, _CHANGES.get(action, Change.STATUS), status, message or reason or "", caller.name)]
    if action == "edit" and status is not held.status:  # its new limit was reached already
        notices.append((row, Change.STATUS, status, record["status_reason"] or "", caller.name))
    await tell_host(connection, notices, now=held.now)
    changes = in_detail(difference(held.record, record, ("status", "deleted_at"))) | dict(detail or {})
    told = {"version": record["version"], "changes": changes} | ({"reason": reason} if reason else {})
    await _audit(connection, caller, held, action, record, told)
    await connection.execute(STATEMENTS.notify, channels.DUE, "")
    return Changed(record, fenced=fence is not None and bool(held.record["host_online"]))


async def _next_version(connection: Connection, held: Held, values: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment with these values, as it is written with its history."""
    merged = {**held.record, **values}
    try:
        record = await connection.fetchrow(
            SQL.change_deployment, merged["id"], *(merged[column] for column in _CHANGED_COLUMNS), held.now
        )
    except UniqueViolationError:
        message = f"There is a deployment {merged['name']} already"
        raise invalid([FieldError(field="name", message=message, hint="Choose another name.")]) from None
    assert record is not None
    await connection.execute(STATEMENTS.insert_versions, [record["id"]])
    return dict(record)


async def _audit(
    connection: Connection,
    caller: Caller,
    held: Held,
    action: str,
    record: Mapping[str, Any],
    told: Mapping[str, Any],
) -> None:
    await connection.execute(
        STATEMENTS.audit, held.now, record["team_id"], caller.name, action, f"deployment/{record['id']}", told
    )
    await note(connection, [(record["team_id"], "deployment", str(record["id"]))])


async def _fence(
    connection: Connection, held: Held, record: Mapping[str, Any], command_id: UUID, reason: Reason
) -> None:
    await drop_held(connection, [record["id"]], reason, held.now)
    command = Fence(
        command_id=command_id,
        host=record["host_name"],
        deployment_id=record["id"],
        deployment_name=record["name"],
        ledger_epoch=held.ledger_epoch,
        version=record["version"],
        reason=reason,
    )
    await enclose(connection, [Parcel(record["team_id"], command)])
