"""What a person may do about the answer."""

from __future__ import annotations

from dataclasses import dataclass

from libs.contracts import LIVE, OPEN, ExecutionStatus, Reason
from services.api.core.why_facts import Facts

_S = ExecutionStatus


@dataclass(frozen=True, slots=True)
class Action:
    """One step, as the API takes it: `method` and `path`."""

    action: str
    label: str
    method: str
    path: str


def actions(facts: Facts, decisive: str | None) -> tuple[Action, ...]:
    """The steps that help, the nearest first; `decisive` is who or what said no."""
    path, now = facts.api_path, facts.current
    if now.deleted or now.status not in LIVE:
        return (*_of_run(facts), Action("copy", "Make another deployment like it", "POST", f"{path}/copy"))
    found = [*_of_run(facts)]
    if now.status == "paused":
        found.append(Action("resume", "Resume the deployment", "POST", f"{path}/resume"))
    match decisive:
        case "limit":
            found.append(Action("raise_limit", "Raise the limit of executions", "PATCH", path))
        case "start_date" | "end_date":
            found.append(Action("edit_dates", "Choose another start or end date", "PATCH", path))
        case "cron":
            found.append(Action("edit_schedule", "Change the schedule", "PATCH", path))
        case "device_busy":
            found.append(Action("wait_for_device", "Let it wait for its device instead", "PATCH", path))
        case "slot":
            found.append(Action("edit_schedule", "Choose a longer interval", "PATCH", path))
        case "scheduler":
            found.append(Action("widen_catch_up", "Let missed fires run later", "PATCH", path))
        case _:
            pass
    place = facts.place
    if place.lock_owner is not None and (decisive == "device_lock" or _waits_for_lock(facts)):
        unlock = f"/api/v1/hosts/{place.host_name}/devices/{place.device_id}/unlock"
        found.append(Action("unlock", f"Unlock {place.device_id}", "POST", unlock))
    is_under_way = facts.run is not None and facts.run.status in OPEN
    if not is_under_way and not (facts.run is not None and facts.run.status is _S.COMPLETED):
        found.append(Action("run", "Run it now", "POST", f"{path}/run"))
    return tuple(found)


def _waits_for_lock(facts: Facts) -> bool:
    return facts.run is not None and facts.run.reason is Reason.DEVICE_LOCKED


def _of_run(facts: Facts) -> list[Action]:
    run = facts.run
    if run is None:
        return []
    path = f"/api/v1/executions/{run.id}"
    if run.status in OPEN:
        return [Action("cancel", "Cancel the run", "POST", f"{path}/cancel")]
    if run.started_at is not None:
        return [Action("log", "Read its log", "GET", f"{path}/log")]
    return []
