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


def lines(pieces: Iterable[str]) -> Iterator[str]:
    """The whole lines of a stream; only LF and CRLF end one, whatever else some text tools take for the end of a line
    (U+2028, NEL) stands for itself.
    """
    begun = ""
    for piece in pieces:
        *whole, begun = (begun + piece).split("\n")
        for line in whole:
            yield line.removesuffix("\r")


def follow(api: Api, path: str) -> Iterator[str]:
    """The log's text, piece by piece, until the execution has ended.

    A connection that breaks is opened again at the same byte; `CliError` when the API stays away.
    """
    at: str | None = None
    was_there = False
    lost_at: float | None = None
    pauses = delays()
    while True:
        try:
            with api.stream(path, {"follow": True}, **({"Last-Event-ID": at} if at else {})) as answer:
                was_there, lost_at = True, None
                for event in events(lines(answer.iter_text())):
                    pauses = delays()
                    if event.name == "end":
                        return
                    if event.name == "output":
                        at = event.id
                        yield json.loads(event.data)["text"]
        except CliError as error:
            now = time.monotonic()
            lost_at = now if lost_at is None else lost_at
            if error.code is not ExitCode.OUT_OF_REACH or not was_there or now - lost_at > _PATIENCE_SECONDS:
                raise
        time.sleep(next(pauses))
