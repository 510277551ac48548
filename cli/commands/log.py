"""A log as it grows: server-sent events, taken up again where they broke off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cli.client import Api
from cli.errors import CliError, ExitCode
from libs.chassis.backoff import delays

# An API that is started again is back by then.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Event:
    """One server-sent event; `data` is what it carries, as JSON."""

    name: str
    id: str | None
    data: str


def events(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a stream, line by line (WHATWG, server-sent events); a last one that is not whole is dropped."""
    name, identity, data = "message", None, list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(name, identity, "\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "id":
                identity = value
            case "data":
                data.append(value)


def follow(api: Api, path: str) -> Iterator[str]:
    """The log's text, piece by piece, until the execution has ended.

    A connection that breaks is opened again at the same byte; `CliError` when the API stays away.
    """
    at: str | None = None
    pauses = delays()
    since = time.monotonic()
    while True:
        try:
            with api.stream(path, {"follow": True}, **({"Last-Event-ID": at} if at else {})) as answer:
                for event in events(answer.iter_lines()):
                    pauses, since = delays(), time.monotonic()
                    if event.name == "end":
                        return
                    if event.name == "output":
                        at = event.id
                        yield json.loads(event.data)["text"]
        except CliError as error:
            if error.code is not ExitCode.OUT_OF_REACH or at is None or time.monotonic() - since > _PATIENCE_SECONDS:
                raise
        time.sleep(next(pauses))
