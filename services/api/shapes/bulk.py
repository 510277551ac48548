"""The same for many deployments at once, each on its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from services.api.shapes import examples
from services.api.shapes.base import Body, Note, Shape, refusal
from services.api.shapes.deployment import Deployment, DeploymentPatch
from services.api.shapes.problem import Problem

MOST_IDS = 500


class BulkAction(StrEnum):
    """What can be done to many."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    DELETE = "delete"
    RUN = "run"


class Bulk(Body):
    """Either an action or an edit; an id that is given twice counts once. `reason` is kept with each action."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BULK, examples.BULK_PATCH]})

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_IDS)]
    action: BulkAction | None = None
    patch: DeploymentPatch | None = None
    reason: Note | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Bulk:
        if (self.action is None) == (self.patch is None):
            raise refusal("Give either an action or a patch", f"An action is one of {', '.join(BulkAction)}.")
        if self.patch is not None and self.reason is not None:
            raise refusal("A patch has no reason", "Give the reason with an action, or leave it out.")
        return self


class BulkAnswer(Shape):
    """What became of one of them: `problem` or `deployment`; `execution_id` of a run."""

    id: UUID
    ok: bool
    problem: Problem | None
    deployment: Deployment | None
    execution_id: UUID | None


class BulkAnswers(Shape):
    """One for each id, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BULK_ANSWER]})

    items: list[BulkAnswer]
