"""What is to be done so that a team's deployments and locks are as a file declares them. Values in, a plan out.

A deployment is known by its name, a lock by its device. What is over by its own rules (completed, expired), and what
somebody stopped, is left alone as long as the file says nothing else about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from cli.lab_file.model import Deployment, LabFile, Lock, Policies
from cli.lab_file.reading import Read
from cli.lab_file.source import Fault
from libs.contracts import DeploymentStatus, rfc3339
from libs.schedule import resolve_hash

Json: TypeAlias = Mapping[str, Any]

FIXED = ("host_name", "device_id", "script_name")
"""What cannot be edited: another value is another deployment."""

_SHOWN = 10
_OVER = frozenset({DeploymentStatus.STOPPED, DeploymentStatus.COMPLETED, DeploymentStatus.EXPIRED})


class Action(StrEnum):
    """What becomes of a thing."""

    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    DELETE = "delete"
    UNCHANGED = "unchanged"


class Kind(StrEnum):
    """What a step is about."""

    DEPLOYMENT = "deployment"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after, as JSON has them; None is nothing."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about one thing.

    `number`: its place in the file's list; None for what is not in it. `actual`: as it is, if it is there.
    """

    action: Action
    kind: Kind
    name: str
    changes: tuple[Change, ...] = ()
    note: str = ""
    number: int | None = None
    declared: Deployment | Lock | None = None
    actual: Json | None = None


@dataclass(frozen=True, slots=True)
class World:
    """How it is: the team's deployments, the hosts that it may use, their scripts; `at`: the time, for locks' ends."""

    team_id: str
    deployments: Sequence[Json]
    hosts: Sequence[Json]
    scripts: Sequence[Json]
    at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in the order in which they are done."""

    steps: tuple[Step, ...]

    @property
    def to_do(self) -> tuple[Step, ...]:
        """What is not as it should be."""
        return tuple(step for step in self.steps if step.action is not Action.UNCHANGED)

    @property
    def replacements(self) -> tuple[Step, ...]:
        """What can only be had by deleting and making anew."""
        return tuple(step for step in self.steps if step.action is Action.REPLACE)

    def summary(self) -> dict[str, int]:
        """How many of each action."""
        counted = Counter(step.action for step in self.steps)
        return {str(action): counted[action] for action in Action}

    def in_words(self) -> str:
        """Such as `1 to create, 2 to change, 12 unchanged`."""
        parts = [
            f"{number} {action}" if action == Action.UNCHANGED else f"{number} to {action}"
            for action, number in self.summary().items()
            if number
        ]
        return ", ".join(parts) or "nothing declared"


def make(read: Read, world: World, *, prune: bool) -> Plan | tuple[Fault, ...]:
    """The plan; or what of the file cannot be in this world, by its places."""
    assert read.file is not None
    file = read.file
    there = {each["name"]: each for each in world.deployments}
    deployments = [
        _deployment(number, each, there.get(each.name), world.team_id) for number, each in enumerate(file.deployments)
    ]
    devices = _devices(world.hosts)
    locks = [
        _lock(number, each, devices.get((each.host_name, each.device_id)), world.at)
        for number, each in enumerate(file.locks)
    ]
    faults = {fault for step in (*deployments, *locks) for fault in _misplaced(read, step, world)}
    if faults:
        return tuple(sorted(faults))
    # A lock is taken first, so that nothing starts on the device meanwhile, and given back last.
    taken_away = (list(_surplus(file, world.deployments)), list(_unlocked(file, devices))) if prune else ([], [])
    return Plan((*locks, *deployments, *taken_away[0], *taken_away[1]))


def body_of(declared: Deployment) -> dict[str, Any]:
    """The body that makes it: what it must have, and what differs from the API's defaults."""
    body = {field: getattr(declared, field) for field in ("name", *FIXED, "cron_expression")}
    for field, known in Policies.model_fields.items():
        value = getattr(declared, field)
        if value != known.default:
            body[field] = as_json(value)
    return body


def as_json(value: Any) -> Any:
    """As JSON has it: times in UTC."""
    return rfc3339(value) if isinstance(value, datetime) else value


def _deployment(number: int, declared: Deployment, actual: Json | None, team_id: str) -> Step:
    def step(action: Action, changes: Iterable[Change] = (), note: str = "") -> Step:
        return Step(action, Kind.DEPLOYMENT, declared.name, tuple(changes), note, number, declared, actual)

    if actual is None:
        made = body_of(declared) | ({"paused": True} if declared.paused else {})
        return step(Action.CREATE, (Change(field, None, value) for field, value in made.items() if field != "name"))
    fixed = [change for field in FIXED for change in _differing(field, actual, getattr(declared, field))]
    changes = list(_cron(declared, actual, team_id))
    changes += [
        change for field in Policies.model_fields for change in _differing(field, actual, getattr(declared, field))
    ]
    status = DeploymentStatus(actual["status"])
    if fixed:
        return step(Action.REPLACE, (*fixed, *changes), f"{', '.join(each.field for each in fixed)} cannot be edited")
    if status in _OVER and changes:
        return step(Action.REPLACE, changes, f"it is {status} and cannot be edited")
    if status is DeploymentStatus.STOPPED and declared.paused is False:
        return step(Action.REPLACE, [Change("status", str(status), "active")], "it is stopped for good")
    if status not in _OVER and declared.paused not in {None, status is DeploymentStatus.PAUSED}:
        changes.append(Change("paused", not declared.paused, declared.paused))
    if changes:
        return step(Action.CHANGE, changes)
    return step(Action.UNCHANGED, note=f"it is {status}" if status in _OVER else "")


def _cron(declared: Deployment, actual: Json, team_id: str) -> Iterator[Change]:
    # As the API does at creation: H is drawn from team and name, so the same file always means the same minutes.
    resolved = resolve_hash(declared.cron_expression, f"{team_id}/{declared.name}")
    if resolved != actual["cron_expression"]:
        plain = " ".join(declared.cron_expression.upper().split()) == resolved
        yield Change(
            "cron_expression",
            actual["cron_expression"],
            resolved if plain else f"{resolved} ({declared.cron_expression})",
        )


def _differing(field: str, actual: Json, wanted: Any) -> Iterator[Change]:
    present = actual[field]
    if isinstance(wanted, datetime) and present is not None:
        if datetime.fromisoformat(present) == wanted:
            return
    elif present == wanted:
        return
    yield Change(field, present, as_json(wanted))


def _surplus(file: LabFile, deployments: Sequence[Json]) -> Iterator[Step]:
    owned = file.owns.deployments if file.owns is not None else ()
    declared = {each.name for each in file.deployments}
    for each in sorted(deployments, key=lambda one: str(one["name"])):
        if each["name"] not in declared and _fits(each["name"], owned):
            changes = (Change("deployment", f"{each['script_name']} on {each['host_name']}/{each['device_id']}", None),)
            note = f"made by {each['created_by']}" if each["created_by"] else ""
            yield Step(Action.DELETE, Kind.DEPLOYMENT, each["name"], changes, note, actual=each)


def _lock(number: int, declared: Lock, device: Json | None, at: datetime) -> Step:
    name = f"{declared.host_name}/{declared.device_id}"
    lock = device["lock"] if device is not None else None

    def step(action: Action, changes: Iterable[Change] = (), note: str = "") -> Step:
        return Step(action, Kind.LOCK, name, tuple(changes), note, number, declared, device)

    if declared.expires_at is not None and declared.expires_at <= at:
        return step(Action.UNCHANGED, note="its end has passed")
    if lock is None:
        made = {"reason": declared.reason} | ({"expires_at": declared.expires_at} if declared.expires_at else {})
        return step(Action.CREATE, (Change(field, None, as_json(value)) for field, value in made.items()))
    wanted = {"reason": declared.reason, "expires_at": declared.expires_at}
    changes = [change for field, value in wanted.items() for change in _differing(field, lock, value)]
    if changes:
        return step(Action.CHANGE, changes, f"held by {lock['owner']}")
    return step(Action.UNCHANGED)


def _unlocked(file: LabFile, devices: Mapping[tuple[str, str], Json]) -> Iterator[Step]:
    owned = file.owns.locks if file.owns is not None else ()
    declared = {(each.host_name, each.device_id) for each in file.locks}
    for (host, device_id), device in sorted(devices.items()):
        name, lock = f"{host}/{device_id}", device["lock"]
        if lock is not None and (host, device_id) not in declared and _fits(name, owned):
            changes = (Change("reason", lock["reason"], None),)
            yield Step(Action.DELETE, Kind.LOCK, name, changes, f"held by {lock['owner']}", actual=device)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _devices(hosts: Sequence[Json]) -> dict[tuple[str, str], Json]:
    return {(host["name"], device["device_id"]): device for host in hosts for device in host["devices"]}


def _misplaced(read: Read, step: Step, world: World) -> Iterator[Fault]:
    """What would be refused of a step that makes something, said before anything is done."""
    declared = step.declared
    if declared is None or step.number is None or step.action not in {Action.CREATE, Action.REPLACE}:
        return

    def fault(field: str, sentence: str) -> Fault:
        return Fault(read.place(f"{step.kind}s", step.number or 0, field), sentence)

    if isinstance(declared, Deployment) and declared.end_date is not None and declared.end_date <= world.at:
        yield fault("end_date", "The end has already passed; choose one in the future, or take the deployment out.")
    host = next((each for each in world.hosts if each["name"] == declared.host_name), None)
    if host is None or host["status"] == "revoked":
        known = [each["name"] for each in world.hosts if each["status"] != "revoked"]
        yield fault("host_name", f"There is no host {declared.host_name}{_instead(declared.host_name, known)}")
        return
    devices = [each["device_id"] for each in host["devices"]]
    if declared.device_id not in devices:
        wrong = f"{declared.host_name} has no device {declared.device_id}"
        yield fault("device_id", f"{wrong}{_instead(declared.device_id, devices)}")
    scripts = [each["name"] for each in world.scripts if each["host_name"] == declared.host_name]
    if isinstance(declared, Deployment) and scripts and declared.script_name not in scripts:
        wrong = f"{declared.host_name} has no script {declared.script_name}"
        yield fault("script_name", f"{wrong}{_instead(declared.script_name, scripts)}")


def _instead(wrong: str, known: Sequence[str]) -> str:
    alike = get_close_matches(wrong, known, 1)
    if alike:
        return f"; did you mean {alike[0]}?"
    more = ", …" if len(known) > _SHOWN else ""
    return f"; it is one of {', '.join(known[:_SHOWN])}{more}." if known else "."
