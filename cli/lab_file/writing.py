"""A lab file from what is there. Applied, it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cli.lab_file.model import Policies
from cli.lab_file.plan import FIXED, Json
from libs.contracts import DeploymentStatus

_EXPORTED = frozenset({DeploymentStatus.ACTIVE, DeploymentStatus.PAUSED})
_ONE_LINE = 1 << 20


def declared(deployments: Sequence[Json], hosts: Sequence[Json]) -> dict[str, Any]:
    """What is scheduled and locked, by name. What is over (stopped, completed, expired) is left out."""
    going_on = [each for each in deployments if each["status"] in _EXPORTED]
    return {
        "deployments": [_deployment(each) for each in sorted(going_on, key=lambda one: str(one["name"]))],
        "locks": [
            _lock(host, device)
            for host in sorted(hosts, key=lambda one: str(one["name"]))
            for device in host["devices"]
            if device["lock"] is not None and device["lock"]["reason"]
        ],
    }


def text_of(values: Mapping[str, Any], heading: Sequence[str] = ()) -> str:
    """The YAML of a lab file, with comments before it."""
    comments = "".join(f"# {line}\n" for line in heading)
    body: str = yaml.dump(
        dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ONE_LINE, default_flow_style=False
    )
    return comments + body


def _deployment(actual: Json) -> dict[str, Any]:
    told = {field: actual[field] for field in ("name", *FIXED, "cron_expression")}
    for field, known in Policies.model_fields.items():
        if actual[field] != known.default:
            told[field] = _short(actual[field])
    if actual["status"] == DeploymentStatus.PAUSED:
        told["paused"] = True
        if actual["status_reason"]:
            told["paused_reason"] = actual["status_reason"]
    return told


def _lock(host: Json, device: Json) -> dict[str, Any]:
    lock = device["lock"]
    told = {"host_name": host["name"], "device_id": device["device_id"], "reason": lock["reason"]}
    return told | ({"expires_at": lock["expires_at"]} if lock["expires_at"] is not None else {})


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Dumper(yaml.SafeDumper):
    """Entries of lists are indented, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent always."""
        super().increase_indent(flow, indentless=False)
