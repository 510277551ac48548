"""A deployment under its row lock: the state from which every change of it is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts import DeploymentStatus
from libs.ledger.decisions import decide_due
from libs.ledger.pool import Connection
from libs.ledger.rows import DeploymentRow
from libs.ledger.statements import STATEMENTS
from services.api.core import edit
from services.api.problems import ProblemError, not_found, unavailable
from services.api.shapes.problem import Kind
from services.api.statements import SQL


@dataclass(frozen=True, slots=True)
class Held:
    """A deployment whose row lock we hold, with all its due fires decided at `now`."""

    record: Mapping[str, Any]
    now: datetime
    ledger_epoch: int
    firing: bool

    @property
    def row(self) -> DeploymentRow:
        """What the writing of decisions needs of it."""
        return DeploymentRow.of(self.record)

    @property
    def status(self) -> DeploymentStatus:
        """Where it stands."""
        return DeploymentStatus(self.record["status"])


async def hold(connection: Connection, deployment_id: UUID) -> Held:
    """Lock the deployment and decide what is due. Raises `not-found`; `unavailable` while firing is held."""
    record = await connection.fetchrow(SQL.deployment_locked, deployment_id)
    if record is None:
        raise not_found("deployment")
    moment = await connection.fetchrow(STATEMENTS.ledger_now)
    assert moment is not None
    now: datetime = moment["now"]
    due = record["next_due_at"]
    if record["status"] == DeploymentStatus.ACTIVE and due is not None and due <= now:
        if not moment["firing"]:
            raise firing_is_held()
        await decide_due(connection, [DeploymentRow.of(record)], now=now, ledger_epoch=moment["ledger_epoch"])
        record = await connection.fetchrow(SQL.deployment_locked, deployment_id)
        assert record is not None
    return Held(dict(record), now, moment["ledger_epoch"], moment["firing"])


async def require_usable(connection: Connection, held: Held) -> None:
    """Raises `wrong-state` when the deployment's host is revoked, or its team may not use it any more."""
    host = held.record["host_name"]
    is_revoked = await connection.fetchval(SQL.use_of_host, host, held.record["team_id"])
    if is_revoked is None:
        raise ProblemError(Kind.WRONG_STATE, f"Its team may not use the host {host} any more; copy it to another one")
    if is_revoked:
        raise ProblemError(Kind.WRONG_STATE, f"The host {host} is revoked: copy the deployment to another one")


def firing_is_held() -> ProblemError:
    """After a restore nothing new is triggered for a while."""
    return unavailable("Firing is held until the hosts are in step with the restored ledger")


async def hold_at(connection: Connection, deployment_id: UUID, if_match: str | None) -> Held:
    """`hold`, if the deployment is still at a version that the caller names; else `stale-version`."""
    held = await hold(connection, deployment_id)
    tags = [tag.strip().removeprefix("W/") for tag in if_match.split(",")] if if_match is not None else []
    if tags and "*" not in tags and f'"{held.record["version"]}"' not in tags:
        raise ProblemError(
            Kind.STALE_VERSION,
            f"The deployment is at version {held.record['version']}; load it again and repeat the edit",
        )
    return held


def require(held: Held, wanted: DeploymentStatus) -> None:
    """Raises `wrong-state` when a person may not bring it there."""
    if held.record["deleted_at"] is None and held.status is wanted:
        raise ProblemError(Kind.WRONG_STATE, f"The deployment is {wanted} already")
    if held.record["deleted_at"] is not None or not edit.may_become(held.status, wanted):
        raise wrong_state(held, _DONE[wanted])


def wrong_state(held: Held, done: str) -> ProblemError:
    """It is over, so this is not done to it any more."""
    standing = "deleted" if held.record["deleted_at"] is not None else str(held.status)
    return ProblemError(Kind.WRONG_STATE, f"The deployment is {standing}: it cannot be {done}, only copied")


_DONE = {DeploymentStatus.ACTIVE: "resumed", DeploymentStatus.PAUSED: "paused", DeploymentStatus.STOPPED: "stopped"}
