"""YAML as plain values, with the place of each of them.

Read from the parser's events, so that nothing but texts, numbers, true, false, null, lists and mappings can come out,
each written once: no tags, no anchors, no merging, no second document. Which texts mean a number or a truth is as in
YAML 1.2: `yes`, `on`, `1:30` and `2026-11-24` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import yaml

MOST_SIGNS = 1 << 20
_DEEPEST = 8

Path: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys, and numbers of entries from 0."""

_NULL = re.compile("~|null|Null|NULL|")
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile("[-+]?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 18
_SHARE = "what several deployments share goes under defaults"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column, both from 1."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong, where."""

    place: Place
    sentence: str


@dataclass
class Source:
    """What a text holds. `unread`: the paths of values that could not be had; they stand as None."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    unread: set[Path] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)

    def near(self, path: Path) -> Place:
        """The place of the value, else of what it would be in."""
        while path not in self.places:
            if not path:
                return START
            path = path[:-1]
        return self.places[path]


class _EndError(Exception):
    """No more can be read."""


def read(text: str) -> Source:
    """The values of `text`, and all faults that do not end the reading, or those until it ended."""
    source = Source()
    if len(text) > MOST_SIGNS:
        source.faults.append(Fault(START, f"The file is too large: at most {MOST_SIGNS} signs are read."))
        return source
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    try:
        _Reader(source, events).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source.faults.append(Fault(_place(mark), _in_words(error)))
        source.unread.add(())
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - before.rfind("\n"))
        source.faults.append(Fault(place, "There is a control character here; write plain text."))
        source.unread.add(())
    except _EndError:
        source.unread.add(())
    return source


class _Reader:
    def __init__(self, source: Source, events: Iterator[yaml.Event]) -> None:
        self._source = source
        self._events = events

    def document(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._source.value = self._value(next(self._events), ())
                next(self._events)
                break
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._fault(event, "A second document begins here; a file is one document.")
                return

    def _value(self, event: yaml.Event, path: Path) -> Any:
        self._source.places[path] = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._fault(event, f"Aliases (*{event.anchor}) are not read; {_SHARE}.")
            self._source.unread.add(path)
            return None
        assert isinstance(event, yaml.NodeEvent)
        if event.anchor is not None:
            self._fault(event, f"Anchors (&{event.anchor}) are not read; {_SHARE}.")
        if event.tag is not None:  # type: ignore[attr-defined]
            self._fault(event, "Tags (!) are not read; write a plain value.")
        if len(path) > _DEEPEST:
            self._fault(event, "This is nested too deep.")
            raise _EndError
        match event:
            case yaml.ScalarEvent():
                return _scalar(event.value) if event.style is None else event.value
            case yaml.SequenceStartEvent():
                return self._list(path)
            case _:
                return self._mapping(path)

    def _list(self, path: Path) -> list[Any]:
        values: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            values.append(self._value(event, (*path, len(values))))
        return values

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            name = self._key(event, path)
            if name is None or name in values:
                # Read for its faults alone.
                self._discard(next(self._events))
                continue
            self._source.keys[*path, name] = _place(event.start_mark)
            values[name] = self._value(next(self._events), (*path, name))
        return values

    def _key(self, event: yaml.Event, path: Path) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._fault(event, "A key is a word, followed by a colon.")
            self._discard(event)
            return None
        name: str = event.value
        if name == "<<" and event.style is None:
            self._fault(event, f"Merging (<<) is not read; {_SHARE}.")
            return None
        first = self._source.keys.get((*path, name))
        if first is not None:
            self._fault(event, f"{name} is given twice here; first in line {first.line}.")
        return name

    def _discard(self, event: yaml.Event) -> None:
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = next(self._events)

    def _fault(self, event: yaml.Event, sentence: str) -> None:
        self._source.faults.append(Fault(_place(event.start_mark), sentence))


def _scalar(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _WHOLE.fullmatch(text) and len(text) <= _LONGEST_NUMBER:
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


class _Mark(Protocol):
    """PyYAML's, counted from 0."""

    line: int
    column: int


def _place(mark: _Mark | None) -> Place:
    return START if mark is None else Place(mark.line + 1, mark.column + 1)


def _in_words(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "it cannot be read")
    for said, hint in _HINTS.items():
        if said in problem:
            return hint
    return f"This is not YAML: {problem}."


_HINTS: Mapping[str, str] = {
    r"'\t'": "There is a tab here; indent with blanks.",
    "mapping values are not allowed here": "A colon is not expected here; write a text that holds one in quotes.",
    "found unexpected end of stream": "A quote is opened here and never closed.",
}
