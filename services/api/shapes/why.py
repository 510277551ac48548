"""The answer to "why did it not run?"."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from libs.contracts import Instant
from services.api.core.why import Answer, Verdict
from services.api.shapes.base import Body, Shape, When

CheckName = Literal[
    "exists", "status", "start_date", "end_date", "cron", "limit", "host", "device_lock", "device_busy", "slot"
]

_EXAMPLE: JsonDict = {
    "deployment_id": "019a0f6e-5a40-7c11-9d6e-0d5e7d1c2a10",
    "at": "2026-11-23T10:30:00Z",
    "verdict": "skipped",
    "sentence": (
        "It was skipped: Already queued (max 1). Its runs take 420 s as a rule, and its fires are 300 s apart: "
        "choose a longer interval or make the script faster; the queue keeps one at most."
    ),
    "by": "slot",
    "execution_id": "019aafb4-f7c0-8a11-b1f7-6c5c3f0a9e21",
    "actions": [
        {
            "action": "edit_schedule",
            "label": "Choose a longer interval",
            "method": "PATCH",
            "path": "/api/v1/deployments/019a0f6e-5a40-7c11-9d6e-0d5e7d1c2a10",
        }
    ],
    "checks": [
        {
            "check": "status",
            "ok": True,
            "value": "active",
            "sentence": "It was active, since 2026-11-23 09:00 UTC.",
        },
        {"check": "slot", "ok": False, "value": "already_queued", "sentence": "Already queued (max 1)."},
    ],
}


class WhyQuery(Body):
    """Which minute is meant."""

    at: When | None = Field(
        default=None, description="RFC 3339; the minute that holds it. Default: now", examples=["2026-11-23T10:30:00Z"]
    )


class WhyCheck(Shape):
    """One check on the way to a run; `ok` is null when it was not asked any more, or nobody knows."""

    check: CheckName
    ok: bool | None
    value: str | None
    sentence: str


class WhyAction(Shape):
    """What a person may do about it: one request."""

    action: str
    label: str
    method: Literal["GET", "POST", "PATCH"]
    path: str


class Why(Shape):
    """What became of a minute, or will; every check in the order of decision."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    deployment_id: UUID
    at: Instant
    verdict: Verdict
    sentence: str
    by: Annotated[str | None, Field(description="the check that said no, `scheduler`, `person`, or null when none did")]
    execution_id: UUID | None
    actions: list[WhyAction]
    checks: list[WhyCheck]

    @classmethod
    def of(cls, deployment_id: UUID, at: datetime, answer: Answer) -> Why:
        """The shape of an answer."""
        return cls.model_validate(
            {
                "deployment_id": deployment_id,
                "at": at,
                "verdict": answer.verdict,
                "sentence": answer.sentence,
                "by": answer.by,
                "execution_id": answer.execution_id,
                "actions": [{name: getattr(one, name) for name in WhyAction.model_fields} for one in answer.actions],
                "checks": [{name: getattr(one, name) for name in WhyCheck.model_fields} for one in answer.checks],
            }
        )
