"""The broker as people see it."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.config import JsonDict

from services.api.shapes.base import Shape

_EXAMPLE: JsonDict = {
    "hosts": [
        {"name": "lab-1", "triggers": 0, "commands": 0, "consumers": 1},
        {"name": "lab-2", "triggers": 3, "commands": 1, "consumers": 0},
    ],
    "results": 0,
    "results_consumers": 1,
    "presence": 0,
    "presence_consumers": 1,
    "dead_letters": 0,
    "dead_letters_consumers": 1,
    "dead_letters_open": 2,
}


class HostQueues(Shape):
    """What waits for one host; null where the queue is missing."""

    name: str
    triggers: int | None
    commands: int | None
    consumers: int | None
    """Of the triggers: 0 means that no runner takes any."""


class BrokerView(Shape):
    """Ready messages and consumers, queue by queue; null where a queue is missing.

    `dead_letters` have not been stored yet; `dead_letters_open` are stored, and nobody has dealt with them.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    hosts: list[HostQueues]
    results: int | None
    results_consumers: int | None
    presence: int | None
    presence_consumers: int | None
    dead_letters: int | None
    dead_letters_consumers: int | None
    dead_letters_open: int
