"""The events of a followed log."""

from __future__ import annotations

from libs.contracts import ExecutionStatus
from services.api.shapes.base import Shape


class Output(Shape):
    """A piece of the log; `offset` is its first byte's. Invalid UTF-8 is replaced in `text`."""

    offset: int
    text: str


class OutputEnd(Shape):
    """The execution has ended, and this was all."""

    status: ExecutionStatus
    size: int


class Have(Shape):
    """The answer to an upload that leaves a gap: go on from this byte."""

    have: int
