"""The JSON Schema of lab files, for editors: completion, hover texts, red lines."""

from __future__ import annotations

import json
from typing import Any

from cli.lab_file.model import Defaults, LabFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema, from the model that reads the files."""
    made = LabFile.model_json_schema()
    deployment = made["$defs"]["Deployment"]
    # What the defaults may say need not be said again.
    deployment["required"] = [field for field in deployment["required"] if field not in Defaults.model_fields]
    return {"$schema": DIALECT, **made, "title": "Rigbeat lab file"}


def text() -> str:
    """The schema as it is printed, and kept in docs/lab.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
