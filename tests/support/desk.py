"""A host's rules and its deployments log, on a day that the test scripts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from libs.contracts import Change, DeploymentState, DeploymentStatus, Notice
from services.host_runner.core.decide import decide
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import Event
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.log_file import MAX_BYTES
from tests.support.host_runner import T0, deployment


class Desk:
    """The host `host-01` with the devices `stb-1` and `emulator-5554`, and its log in `place`."""

    def __init__(self, place: Path, *, max_bytes: int = MAX_BYTES, max_parallel: int = 2) -> None:
        self.path = place / "deployments.log"
        self.log = DeploymentsLog(self.path, place, "host-01", max_bytes=max_bytes)
        self.host = Host(devices=frozenset({"stb-1", "emulator-5554"}), max_parallel=max_parallel)

    def tell(self, event: Event, now: datetime = T0) -> None:
        """Something happened at `now`."""
        self.host, commands = decide(self.host, event)
        self.log.happened(event, commands, now)

    def text(self) -> str:
        """The whole log."""
        return self.path.read_text(encoding="utf-8")

    def lines(self) -> list[str]:
        """Its lines without their times."""
        return [line[20:] for line in self.text().split("\n")[:-1]]


def state(name: str, cron: str = "*/10 * * * *", /, **given: Any) -> DeploymentState:
    """A deployment in a sync: active, never run and unlimited unless told otherwise."""
    values: dict[str, Any] = {
        "deployment_id": deployment(name),
        "name": name,
        "version": 1,
        "status": DeploymentStatus.ACTIVE,
        "cron_expression": cron,
        "timezone": "UTC",
        "last_executed_at": None,
        "next_fire_at": None,
        "execution_count": 0,
        "max_executions": None,
    }
    return DeploymentState(**(values | given))


def notice(name: str, change: Change, /, **given: Any) -> Notice:
    """A notice; its id follows from what it says."""
    values: dict[str, Any] = {
        "command_id": uuid5(NAMESPACE_OID, f"{name} {change} {given}"),
        "host": "host-01",
        "deployment_id": deployment(name),
        "deployment_name": name,
        "device_id": "stb-1",
        "change": change,
        "status": DeploymentStatus.ACTIVE,
        "cron_expression": "*/10 * * * *",
        "timezone": "UTC",
        "execution_count": 0,
    }
    return Notice(**(values | given))
