"""The sums of a JUnit report, whoever wrote it. Pure.

There is no one format: producers agree on `testsuites`, `testsuite`, `testcase` with `failure`, `error`, `skipped` in
it, and disagree on what the attributes of nested suites count. So the test cases are counted; the attributes only where
there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

MOST_BYTES = 8 << 20
_SUITES = {"testsuites", "testsuite"}
_RESULTS = ("error", "failure", "skipped")
"""The worst first: a case that has several counts as that."""


@dataclass(frozen=True, slots=True)
class Sums:
    """How many test cases there are, and how many of them failed, broke, were left out."""

    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.tests + other.tests,
            self.failures + other.failures,
            self.errors + other.errors,
            self.skipped + other.skipped,
        )


class _NoReportError(Exception):
    """It is something else, or more than we read."""


def summed(content: bytes) -> Sums | None:
    """The sums of a report; None for anything else: another root, no XML, a document type or entities of its own."""
    if len(content) > MOST_BYTES:
        return None
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reading.begin
    parser.EndElementHandler = reading.end
    # Entities could grow without measure or name files of ours; no report needs any.
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except (_NoReportError, expat.ExpatError, ValueError, LookupError):
        # The last two: an encoding that Python does not know, or knows and cannot use here.
        return None
    return reading.sums()


class _Reading:
    """Counts what the parser meets."""

    def __init__(self) -> None:
        self._depth = 0
        self._case_depth: int | None = None
        self._results: set[str] = set()
        self._cases = Sums()
        self._said = Sums()
        self._said_depth: int | None = None

    def begin(self, qualified: str, attributes: dict[str, str]) -> None:
        name = qualified.rpartition(":")[2]
        self._depth += 1
        if self._depth == 1 and name not in _SUITES:
            raise _NoReportError
        if name == "testsuite" and self._said_depth is None:
            # Only the outermost suites: theirs may hold those within, or may not, and twice is the worse mistake.
            self._said_depth = self._depth
            self._said += _said(attributes)
        elif name == "testcase" and self._case_depth is None:
            self._case_depth = self._depth
            self._results = set()
        elif self._case_depth is not None and self._depth == self._case_depth + 1:
            self._results.add(name)

    def end(self, _name: str) -> None:
        if self._depth == self._case_depth:
            self._case_depth = None
            worst = next((result for result in _RESULTS if result in self._results), None)
            self._cases += Sums(1, worst == "failure", worst == "error", worst == "skipped")
        if self._depth == self._said_depth:
            self._said_depth = None
        self._depth -= 1

    def sums(self) -> Sums:
        return self._cases if self._cases.tests else self._said


def _said(attributes: dict[str, str]) -> Sums:
    return Sums(*(_number(attributes.get(name)) for name in ("tests", "failures", "errors", "skipped")))


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _refuse(*_declared: Any) -> None:
    raise _NoReportError
