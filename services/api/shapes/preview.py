"""What a schedule means, before it is saved."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from libs.contracts import Instant, OnDeviceBusy
from services.api.shapes import examples
from services.api.shapes.base import Body, Label, ScriptName, Shape, When
from services.api.shapes.deployment import MOST_TARGETS, Target

Part = Literal["minute", "hour", "day_of_month", "month", "day_of_week", "expression", "timezone", "end_date"]


class PreviewRequest(Body):
    """A schedule in question. `name` is only used to resolve `H`.

    With `targets` the answer says who else is due on their devices; `deployment_id` is the one that is edited, so that
    it is not in its own way.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PREVIEW_REQUEST]})

    cron_expression: str
    timezone: str = "UTC"
    start_date: When | None = None
    end_date: When | None = None
    count: Annotated[int, Field(strict=True, ge=1, le=200)] = 5
    name: Label | None = None
    script_name: ScriptName | None = None
    targets: Annotated[list[Target], Field(min_length=1, max_length=MOST_TARGETS)] | None = None
    on_device_busy: OnDeviceBusy = OnDeviceBusy.SKIP
    deployment_id: UUID | None = None


class PreviewError(Shape):
    """The part at fault and what to write instead."""

    field: Part
    message: str
    hint: str | None


class PreviewConflict(Shape):
    """Somebody else is due on the device at this instant: what would become of one of the two.

    `deployment` is its name, or "another team". `alternative_cron` is the same cadence at minutes that are free on all
    the targets' devices, else on this one; null when there are none.
    """

    at: Instant
    host_name: str
    device_id: str
    deployment: str
    would: str
    alternative_cron: str | None


class Preview(Shape):
    """Words and the next fires; `next` lies in [start, end), from now on.

    `runs_per_day` (on average, without regard to start and end) and `conflicts` (among `next`, at most 200) are null
    without `targets`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PREVIEW, examples.PREVIEW_REFUSED]})

    valid: bool
    error: PreviewError | None
    description: str | None
    next: list[Instant]
    notes: list[str]
    runs_per_day: float | None = None
    conflicts: list[PreviewConflict] | None = None


class PresetShape(Shape):
    """A schedule that people choose by name."""

    name: str
    cron_expression: str
    description: str
