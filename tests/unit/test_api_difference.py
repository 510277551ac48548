"""What an edit changed, in the audit and in the deployments log; and that the document's examples are true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from services.api.core.difference import difference, in_detail, in_words
from services.api.shapes import examples
from services.api.shapes.bulk import Bulk, BulkAnswers
from services.api.shapes.copy import DeploymentCopy
from services.api.shapes.deployment import Because, Deployment, DeploymentPatch, NewDeployment
from services.api.shapes.preview import Preview, PreviewRequest

ROW: dict[str, Any] = {
    "cron_expression": "*/5 * * * *",
    "max_executions": None,
    "end_date": datetime(2026, 12, 24, tzinfo=UTC),
    "parameters": "--a",
    "timezone": "UTC",
}
EDITED = ROW | {"cron_expression": "*/10 * * * *", "max_executions": 20, "end_date": None, "parameters": "--b"}


def test_only_what_differs_is_told() -> None:
    changes = difference(ROW, EDITED, ROW)
    assert in_detail(changes) == {
        "cron_expression": {"before": "*/5 * * * *", "after": "*/10 * * * *"},
        "end_date": {"before": "2026-12-24T00:00:00Z", "after": None},
        "max_executions": {"before": None, "after": 20},
        "parameters": {"before": "--a", "after": "--b"},
    }
    assert in_words(changes) == (
        "cron */5 * * * * -> */10 * * * *, end 2026-12-24T00:00:00Z -> none, limit none -> 20, parameters"
    )
    assert difference(ROW, EDITED, ["timezone"]) == ()


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        (NewDeployment, examples.NEW),
        (NewDeployment, examples.NEW_FOR_SEVERAL),
        (DeploymentPatch, examples.PATCH),
        (DeploymentCopy, examples.COPY),
        (Because, examples.BECAUSE),
        (Bulk, examples.BULK),
        (Bulk, examples.BULK_PATCH),
        (PreviewRequest, examples.PREVIEW_REQUEST),
    ],
)
def test_an_example_of_what_is_sent_is_accepted(shape: type[BaseModel], example: dict[str, Any]) -> None:
    shape.model_validate(example)


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        (Deployment, examples.DEPLOYMENT),
        (BulkAnswers, examples.BULK_ANSWER),
        (Preview, examples.PREVIEW),
        (Preview, examples.PREVIEW_REFUSED),
    ],
)
def test_an_example_of_an_answer_is_whole(shape: type[BaseModel], example: dict[str, Any]) -> None:
    assert shape.model_validate(example).model_dump(mode="json") == example
