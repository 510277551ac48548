"""A copy of a deployment: what is to differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from services.api.shapes import examples
from services.api.shapes.base import (
    Label,
    ScriptName,
)
from services.api.shapes.deployment import DeploymentPatch, NewDeployment, Writable

COPIED = ("host_name", "device_id", "script_name", "cron_expression", *sorted(Writable.model_fields))
"""What a copy takes over; the name is drawn anew."""


class DeploymentCopy(DeploymentPatch):
    """What is to differ from the one that is copied: what is missing is copied, null goes back to the default.

    Unlike an edit a copy may go to another host and device, and run another script.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [examples.COPY]})

    name: Label | None = None  # type: ignore[assignment]
    host_name: Label = ""
    device_id: Label = ""
    script_name: ScriptName = ""

    def of(self, source: Mapping[str, Any]) -> NewDeployment:
        """The deployment that is meant, of the row that is copied."""
        # Not validated again: what the ledger holds was, by the rules of its time.
        values: dict[str, Any] = {name: source[name] for name in COPIED} | self.given()
        return NewDeployment.model_construct(**({"name": None, "targets": None} | values))
