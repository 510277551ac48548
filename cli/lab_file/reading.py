"""A lab file from its text: all faults at once, each with its place; or what the file declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cli.lab_file import source
from cli.lab_file.model import Defaults, Deployment, LabFile, Lock, Owns
from cli.lab_file.source import START, Fault, Path, Place, Source

_EACH: Mapping[str, type[BaseModel]] = {
    "deployments": Deployment,
    "locks": Lock,
    "defaults": Defaults,
    "owns": Owns,
}
_ALIKE = 0.7
_BY_DEFAULTS = frozenset(Defaults.model_fields)


@dataclass(frozen=True)
class Read:
    """What a text says: `file` is None when there are faults. `places` are those of its values, by path."""

    file: LabFile | None
    faults: tuple[Fault, ...]
    places: Mapping[Path, Place]

    def place(self, *path: str | int) -> Place:
        """Where this stands, else what it would stand in."""
        while path not in self.places:
            if not path:
                return START
            path = path[:-1]
        return self.places[path]


def read(text: str) -> Read:
    """The file, or every fault of it in the order of lines."""
    found = source.read(text)
    faults = set(found.faults)
    file: LabFile | None = None
    if () not in found.unread:
        if found.value is None:
            faults.add(Fault(found.near(()), "The file says nothing; begin with deployments: and a list."))
        elif isinstance(found.value, dict):
            file = _checked(found, faults)
        else:
            faults.add(Fault(found.near(()), "Keys and values are wanted here; begin with deployments: and a list."))
    if faults:
        return Read(None, tuple(sorted(faults)), found.places)
    return Read(file, (), found.places)


def _checked(found: Source, faults: set[Fault]) -> LabFile | None:
    try:
        file = LabFile.model_validate(_with_defaults(found))
    except ValidationError as error:
        for each in error.errors(include_url=False):
            fault = _fault(found, each)
            if fault is not None:
                faults.add(fault)
        file = None
    faults.update(_twice(found, "deployments", ("name",)))
    faults.update(_twice(found, "locks", ("host_name", "device_id")))
    if file is not None and file.owns is not None:
        faults.update(_not_owned(found, "deployments", [each.name for each in file.deployments], file.owns.deployments))
        places = [f"{each.host_name}/{each.device_id}" for each in file.locks]
        faults.update(_not_owned(found, "locks", places, file.owns.locks))
    return file


def _with_defaults(found: Source) -> dict[str, Any]:
    """The values, with the defaults in every deployment and without nulls: those mean what is not said."""
    given: dict[str, Any] = found.value
    shared = given.get("defaults")
    if not isinstance(shared, dict):
        shared = {}
    values = {key: value for key, value in given.items() if value is not None}
    if "defaults" in values and isinstance(given["defaults"], dict):
        values["defaults"] = _said(shared)
    for kind in ("deployments", "locks"):
        if not isinstance(given.get(kind), list):
            continue
        values[kind] = entries = []
        for number, entry in enumerate(given[kind]):
            if not isinstance(entry, dict):
                entries.append(entry)
                continue
            inherited = {key: value for key, value in shared.items() if key in _BY_DEFAULTS and key not in entry}
            if kind == "locks":
                inherited = {}
            for key in inherited:
                found.places[kind, number, key] = found.near(("defaults", key))
            entries.append(_said({**inherited, **entry}))
    return values


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _twice(found: Source, kind: str, fields: Sequence[str]) -> Iterator[Fault]:
    entries = found.value.get(kind)
    first: dict[tuple[Any, ...], Place] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, dict):
            continue
        key = tuple(entry.get(field) for field in fields)
        if not all(isinstance(part, str) for part in key):
            continue
        place = found.near((kind, number, fields[0]))
        if key in first:
            yield Fault(place, f"{'/'.join(key)} is declared twice; first in line {first[key].line}.")
        else:
            first[key] = place


def _not_owned(found: Source, kind: str, names: Sequence[str], patterns: Sequence[str]) -> Iterator[Fault]:
    for number, name in enumerate(names):
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            owned = ", ".join(patterns) or "nothing"
            place = found.near((kind, number, "name" if kind == "deployments" else "host_name"))
            yield Fault(place, f"{name} is not among the {kind} that this file owns ({owned}).")


def _fault(found: Source, error: ErrorDetails) -> Fault | None:
    path: Path = tuple(error["loc"])
    if any(path[:length] in found.unread for length in range(len(path) + 1)):
        return None
    if error["type"] == "extra_forbidden":
        return Fault(found.keys.get(path, found.near(path)), _unknown(path))
    if error["type"] == "missing":
        return Fault(found.near(path[:-1]), f"{path[-1]} is missing.")
    return Fault(found.near(path), _sentence(error))


def _unknown(path: Path) -> str:
    name = str(path[-1])
    model: type[BaseModel] = LabFile if len(path) == 1 else _EACH[str(path[0])]
    known = list(model.model_fields)
    alike = [each for each in known if each.startswith(f"{name}_")] or get_close_matches(name, known, 1, _ALIKE)
    if alike:
        return f"The key {name} is not known here; did you mean {alike[0]}?"
    return f"The key {name} is not known here; it is one of {', '.join(known)}."


def _sentence(error: ErrorDetails) -> str:
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "refused":
            return str(context["sentence"])
        case "string_type" if isinstance(value, bool | int | float):
            written = str(value).lower() if isinstance(value, bool) else str(value)
            return f'A text is wanted here; write it in quotes: "{written}".'
        case "string_type":
            return "A text is wanted here."
        case "int_type" | "int_from_float":
            return "A whole number is wanted here."
        case "float_type":
            return "A number is wanted here."
        case "bool_type":
            return "true or false is wanted here."
        case "enum":
            return f"{value} is not {context['expected']}."
        case "greater_than_equal":
            return f"{value} is too small: at least {context['ge']:.15g}."
        case "greater_than":
            return f"{value} is too small: more than {context['gt']:.15g}."
        case "less_than_equal":
            return f"{value} is too large: at most {context['le']:.15g}."
        case "string_too_short" | "too_short":
            return "This is empty; write at least one character."
        case "string_too_long":
            return f"This is too long: at most {context['max_length']} characters."
        case "too_long":
            return f"These are too many: at most {context['max_length']} in one file; share them out."
        case "timezone_aware":
            return "The zone is missing; write the offset or Z, such as 2026-11-24T08:00:00Z."
        case kind if kind.startswith("datetime"):
            return f"{value} is not a time; write RFC 3339, such as 2026-11-24T08:00:00Z."
        case "tuple_type":
            return "A list is wanted here; begin each entry with a dash."
        case "model_type":
            return "Keys and values are wanted here."
        case _:
            return f"{error['msg']}."
