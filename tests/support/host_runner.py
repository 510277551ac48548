"""Triggers and times for tests of the host runner: written short, with ids that follow from names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from libs.contracts import Fence, Kind, Lock, Reason, Trigger, Unlock, fire_id
from services.host_runner.keys import Keys, Pair

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def deployment(name: str) -> UUID:
    """The id of the deployment of this name."""
    return uuid5(NAMESPACE_OID, name)


def trigger(name: str, seconds: float = 0, /, **given: Any) -> Trigger:
    """The fire of deployment `name` at so many seconds after T0, on device `stb-1` unless told otherwise."""
    values: dict[str, Any] = {
        "execution_id": fire_id(deployment(name), at(seconds)),
        "deployment_id": deployment(name),
        "deployment_name": name,
        "ledger_epoch": 1,
        "version": 1,
        "kind": Kind.CRON,
        "scheduled_at": at(seconds),
        "not_after": at(seconds + 600),
        "host": "lab-1",
        "device_id": "stb-1",
        "script_name": "health.py",
    }
    return Trigger(**(values | given))


def fence(name: str, version: int, reason: Reason = Reason.PAUSED, epoch: int = 1) -> Fence:
    """A fence of deployment `name`."""
    return Fence(
        command_id=uuid5(NAMESPACE_OID, f"{name} {version} {reason} {epoch}"),
        host="lab-1",
        deployment_id=deployment(name),
        ledger_epoch=epoch,
        version=version,
        reason=reason,
    )


def lock(version: int, device: str = "stb-1", expires: float | None = None) -> Lock:
    """Anna takes the device at T0."""
    return Lock(
        command_id=uuid5(NAMESPACE_OID, f"lock {device} {version}"),
        host="lab-1",
        device_id=device,
        lock_version=version,
        owner="anna",
        reason="new firmware",
        since=T0,
        expires_at=None if expires is None else at(expires),
    )


def unlock(version: int, device: str = "stb-1") -> Unlock:
    """Anna gives it back."""
    return Unlock(
        command_id=uuid5(NAMESPACE_OID, f"unlock {device} {version}"),
        host="lab-1",
        device_id=device,
        lock_version=version,
    )


def given_keys(place: Path, token: str) -> Keys:
    """As for a runner whose credentials are given by its environment."""
    return Keys(place, Pair(token, "amqp://guest:guest@127.0.0.1:1/"), None)
