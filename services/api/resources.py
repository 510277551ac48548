"""The resources that a stretch of the change feed names, loaded together: one query for each kind, whoever reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from libs.ledger.pool import Connection
from services.api.core.feed import Change
from services.api.shapes.base import Shape
from services.api.shapes.deployment import Deployment
from services.api.shapes.execution import Execution
from services.api.shapes.host import Host, HostDevice
from services.api.statements import SQL

Resources = Mapping[tuple[str, str], Shape]


async def load(connection: Connection, changes: Iterable[Change]) -> Resources:
    """Each resource by `(kind, id)`, just as GET answers it; what is gone (dropped by retention) is left out."""
    wanted: dict[str, set[str]] = {}
    for change in changes:
        wanted.setdefault(change.kind, set()).add(change.resource)
    found: dict[tuple[str, str], Shape] = {}
    if executions := wanted.get("execution"):
        for record in await connection.fetch(SQL.executions_by_id, _ids(executions)):
            found["execution", str(record["id"])] = Execution.of(dict(record))
    if deployments := wanted.get("deployment"):
        for record in await connection.fetch(SQL.deployments_by_id, _ids(deployments)):
            found["deployment", str(record["id"])] = Deployment.of(dict(record))
    hosts = wanted.get("host", set())
    devices = wanted.get("device", set())
    if names := hosts | {resource.partition("/")[0] for resource in devices}:
        for record in await connection.fetch(SQL.hosts_page, None, sorted(names), len(names)):
            host = Host.of(dict(record))
            if host.name in hosts:
                found["host", host.name] = host
            for device in host.devices:
                resource = f"{host.name}/{device.device_id}"
                if resource in devices:
                    found["device", resource] = HostDevice(**dict(device), host_name=host.name)
    return found


def _ids(texts: Iterable[str]) -> list[UUID]:
    return sorted(map(UUID, texts))
