"""The steps of a plan over the API: each on its own, in order, and only if nobody has changed the thing meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cli.client import Api, Json
from cli.errors import CliError, ExitCode
from cli.lab_file.model import Deployment, Lock
from cli.lab_file.plan import Action, Kind, Plan, Step, as_json, body_of
from libs.contracts import DeploymentStatus


@dataclass(frozen=True)
class Result:
    """What became of a step; `refused` is None when it is done."""

    step: Step
    refused: CliError | None = None


def carry_out(api: Api, plan: Plan) -> Iterator[Result]:
    """Do the steps, one for each result that is taken; one that is refused stops no other.

    Raises `CliError` as soon as the API is out of reach: what was told of is done; the same file goes on from there.
    """
    for step in plan.to_do:
        try:
            _DOING[step.kind](api, step)
        except CliError as error:
            if error.code is not ExitCode.REFUSED:
                raise
            yield Result(step, error)
        else:
            yield Result(step)


def _deployment(api: Api, step: Step) -> None:
    match step.action:
        case Action.CREATE:
            _create(api, _declared(step))
        case Action.CHANGE:
            _change(api, _declared(step), step)
        case Action.REPLACE:
            _replace(api, _declared(step), _actual(step))
        case _:
            api.delete(_path(_actual(step)), _actual(step)["version"])


def _create(api: Api, declared: Deployment, *, paused_as: Mapping[str, Any] | None = None) -> None:
    """Make it, paused if that is declared; or, when the file says nothing, if what it replaces was (`paused_as`)."""
    [made] = api.post("/deployments", body_of(declared))["items"]
    if declared.paused:
        _pause(api, made, declared.paused_reason)
    elif declared.paused is None and paused_as is not None and paused_as["status"] == DeploymentStatus.PAUSED:
        _pause(api, made, paused_as["status_reason"])


def _change(api: Api, declared: Deployment, step: Step) -> None:
    changed = _actual(step)
    edits = {each.field: as_json(getattr(declared, each.field)) for each in step.changes if each.field != "paused"}
    if edits:
        changed = api.patch(_path(changed), edits, changed["version"])
    if any(each.field == "paused" for each in step.changes):
        if declared.paused:
            _pause(api, changed, declared.paused_reason)
        else:
            api.post(f"{_path(changed)}/resume", version=changed["version"])


def _replace(api: Api, declared: Deployment, actual: Json) -> None:
    """Delete it and make it anew. When that is refused, one like the old takes its place again."""
    api.delete(_path(actual), actual["version"])
    try:
        _create(api, declared, paused_as=actual)
    except CliError as refused:
        if refused.code is not ExitCode.REFUSED:
            if declared.paused is None and actual["status"] == DeploymentStatus.PAUSED:
                # Nobody knows it any more but we.
                sentence = f"{refused.sentence}; {actual['name']} was paused, and is not when it is made anew: pause it"
                raise CliError(refused.code, sentence, refused.more) from None
            raise
        raise CliError(refused.code, f"{refused.sentence}; {_bring_back(api, actual)}", refused.more) from None


def _bring_back(api: Api, actual: Json) -> str:
    try:
        copy = api.post(f"{_path(actual)}/copy", {"name": actual["name"]})
        if actual["status"] == DeploymentStatus.PAUSED:
            _pause(api, copy, actual["status_reason"])
    except CliError as error:
        return f"the old one is deleted, and could not be brought back: {error.sentence}"
    return "one like the old is there again, counted from 0"


def _pause(api: Api, deployment: Json, reason: str | None) -> None:
    body = {} if reason is None else {"reason": reason}
    api.post(f"{_path(deployment)}/pause", body, version=deployment["version"])


def _lock(api: Api, step: Step) -> None:
    host, _, device = step.name.partition("/")
    path = f"/hosts/{quote(host, safe='')}/devices/{quote(device, safe='')}"
    if step.action is Action.DELETE:
        api.post(f"{path}/unlock")
        return
    assert isinstance(step.declared, Lock)
    api.post(f"{path}/lock", {"reason": step.declared.reason, "expires_at": as_json(step.declared.expires_at)})


_DOING: Mapping[Kind, Callable[[Api, Step], None]] = {Kind.DEPLOYMENT: _deployment, Kind.LOCK: _lock}


def _declared(step: Step) -> Deployment:
    assert isinstance(step.declared, Deployment)
    return step.declared


def _actual(step: Step) -> Json:
    assert step.actual is not None
    return dict(step.actual)


def _path(deployment: Mapping[str, Any]) -> str:
    return f"/deployments/{deployment['id']}"
