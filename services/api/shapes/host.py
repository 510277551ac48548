"""Hosts and their devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import StringConstraints

from libs.contracts import HOST_NAME_PATTERN, Instant
from services.api.shapes.base import Body, Shape


class DeviceLock(Shape):
    """A person took the device."""

    owner: str
    reason: str
    since: Instant
    expires_at: Instant | None


class Device(Shape):
    """A device and what it does right now."""

    device_id: str
    model: str
    labels: dict[str, str]
    status: Literal["free", "running", "waiting", "locked", "offline"]
    execution_id: UUID | None
    pending: list[UUID]
    lock: DeviceLock | None


class Queues(Shape):
    """What waits for the host at the broker; null where it was not asked."""

    triggers: int | None = None
    commands: int | None = None
    consumers: int | None = None


class Host(Shape):
    """A machine with devices, and whether its runner is heard."""

    name: str
    status: Literal["online", "offline", "revoked"]
    last_seen_at: Instant | None
    runner_version: str | None
    clock_offset_seconds: float | None
    max_parallel: int
    queues: Queues
    team_id: UUID
    shared_teams: list[UUID]
    boot_id: str | None
    scripts: int
    enrolled_at: Instant
    devices: list[Device]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Host:
        """The shape of a row of the statement `hosts_page`."""
        return cls.model_validate({**record, "queues": Queues()})


class NewHost(Body):
    """A host to enrol; `team_id` only for an operator's token without a team of its own."""

    name: Annotated[str, StringConstraints(pattern=HOST_NAME_PATTERN)]
    team_id: UUID | None = None


class Enrolled(Shape):
    """The new host and its token, which is shown this once."""

    host: Host
    secret: str
