"""What a schedule means, before it is saved."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from libs.contracts import Instant
from services.api.shapes.base import Body, Label, Shape, When

Part = Literal["minute", "hour", "day_of_month", "month", "day_of_week", "expression", "timezone", "end_date"]


class PreviewRequest(Body):
    """A schedule in question. `name` is only used to resolve `H`."""

    cron_expression: str
    timezone: str = "UTC"
    start_date: When | None = None
    end_date: When | None = None
    count: Annotated[int, Field(strict=True, ge=1, le=200)] = 5
    name: Label | None = None


class PreviewError(Shape):
    """The part at fault and what to write instead."""

    field: Part
    message: str
    hint: str | None


class Preview(Shape):
    """Words and the next fires; `next` lies in [start, end), from now on."""

    valid: bool
    error: PreviewError | None
    description: str | None
    next: list[Instant]
    notes: list[str]


class PresetShape(Shape):
    """A schedule that people choose by name."""

    name: str
    cron_expression: str
    description: str
