"""Hosts and their devices."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from libs.contracts import HOST_NAME_PATTERN, Instant
from services.api.shapes.base import Body, Note, Shape, When, refusal

LONGEST_LOCK_SECONDS = 30 * 86_400
MOST_SHARING = 100

_DEVICE: JsonDict = {
    "device_id": "stb-1",
    "model": "settop",
    "labels": {"floor": "2"},
    "status": "locked",
    "execution_id": None,
    "pending": [],
    "lock": {
        "owner": "ann",
        "reason": "new firmware",
        "since": "2026-11-23T10:20:05Z",
        "expires_at": "2026-11-23T12:20:05Z",
    },
}
_HOST: JsonDict = {
    "name": "lab-1",
    "status": "online",
    "last_seen_at": "2026-11-23T10:21:00Z",
    "runner_version": "0.2.0",
    "clock_offset_seconds": 0.002,
    "max_parallel": 1,
    "queues": {"triggers": 0, "commands": 0, "consumers": 1},
    "team_id": "0199f3a2-1c00-7000-8000-00000000000a",
    "shared_teams": [],
    "boot_id": "5f1c7f0e",
    "scripts": 3,
    "enrolled_at": "2026-11-01T08:00:00Z",
    "devices": [_DEVICE],
}


class DeviceLock(Shape):
    """A person took the device."""

    owner: str
    reason: str
    since: Instant
    expires_at: Instant | None


class Device(Shape):
    """A device and what it does right now. A run that was under way when it was locked goes on: `running`, locked."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEVICE]})

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

    model_config = ConfigDict(json_schema_extra={"examples": [_HOST]})

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
    def of(cls, record: Mapping[str, Any], queues: Queues | None = None) -> Host:
        """The shape of a row of the statement `hosts_page`."""
        return cls.model_validate({**record, "queues": queues or Queues()})


class HostDevice(Device):
    """A device as an event tells of it: with its host."""

    host_name: str


class NewLock(Body):
    """Why somebody takes a device: for `seconds`, or until `expires_at`; with neither until he gives it back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reason": "new firmware", "seconds": 7200},
                {"reason": "new firmware", "expires_at": "2027-01-31T16:00:00Z"},
            ]
        }
    )

    reason: Annotated[Note, StringConstraints(min_length=1)]
    seconds: Annotated[int, Field(strict=True, ge=1, le=LONGEST_LOCK_SECONDS)] | None = None
    expires_at: When | None = None

    @model_validator(mode="after")
    def _says_one_end(self) -> NewLock:
        if self.seconds is not None and self.expires_at is not None:
            raise refusal("Both seconds and expires_at are given", "Give one of the two.")
        return self


class NewHost(Body):
    """A host to enrol. For an operator: `team_id`, whose it is, and `shared_teams`, who may use it besides."""

    name: Annotated[str, StringConstraints(pattern=HOST_NAME_PATTERN)]
    team_id: UUID | None = None
    shared_teams: Annotated[tuple[UUID, ...], Field(max_length=MOST_SHARING)] = ()


class HostPatch(Body):
    """Who else may use the host."""

    shared_teams: Annotated[tuple[UUID, ...], Field(max_length=MOST_SHARING)]


class Enrolled(Shape):
    """The host, and the secret that its runner exchanges once for credentials; shown this once, good for a day."""

    host: Host
    secret: str


class HostCredentials(Shape):
    """What a runner needs; shown this once. `amqp_url` null: hosts have no users of their own at this broker."""

    host_name: str
    token: str
    amqp_url: str | None


class Queued(StrEnum):
    """What becomes of what waits for a host that is revoked: it stays to be looked at, or goes with its queues."""

    KEEP = "keep"
    DRAIN = "drain"
