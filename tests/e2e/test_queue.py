"""One running, one pending: the seed's smart queue, and devices that two deployments want."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.lab import Lab


def _gap(former: dict[str, Any], latter: dict[str, Any]) -> float:
    """Seconds from the end of one run to the start of the next."""
    ended, started = (datetime.fromisoformat(at) for at in (former["completed_at"], latter["started_at"]))
    return (started - ended).total_seconds()


@pytest.mark.parametrize("fail", [False, True], ids=["after a success", "after a failure"])
def test_three_runs_are_running_queued_skipped_and_the_queued_one_starts_at_once(lab: Lab, fail: bool) -> None:
    deployment = lab.deploy("queue", gate="a", fail=fail)
    first = lab.run(deployment)
    lab.wait_for(first, "running")
    second = lab.run(deployment)
    lab.wait_for(second, "queued")
    third = lab.wait_for_end(lab.run(deployment))
    assert (third["status"], third["reason"], third["message"]) == (
        "skipped",
        "already_queued",
        "Already queued (max 1)",
    )
    lab.open("a")
    first, second = lab.wait_for_end(first), lab.wait_for_end(second)
    wanted = ("failed", "exit_code", 3) if fail else ("completed", None, 0)
    for ended in (first, second):
        assert (ended["status"], ended["reason"], ended["exit_code"]) in {
            wanted,
            ("failed", "script_reported_failure", 3) if fail else wanted,
        }
    # How long the script's process took to start is not the slot's doing.
    assert 0 <= _gap(first, second) < 1 + (second["lateness"]["spawn"] or 0), "it started at once"
    assert lab.effects() == {first["id"]: 1, second["id"]: 1}
    assert lab.deployment(deployment)["execution_count"] == 2


def test_two_deployments_on_one_device_never_run_together(lab: Lab) -> None:
    holder = lab.deploy("holder", gate="a")
    running = lab.run(holder)
    lab.wait_for(running, "running")
    skipped = lab.wait_for_end(lab.run(lab.deploy("skips")))
    assert (skipped["status"], skipped["reason"]) == ("skipped", "device_busy")
    waiting = lab.run(lab.deploy("waits", on_device_busy="queue"))
    lab.wait_for(waiting, "queued")
    elsewhere = lab.wait_for_end(lab.run(lab.deploy("elsewhere", device_id="stb-2")))
    assert elsewhere["status"] == "completed", "the other device is free"
    lab.open("a")
    running, waiting = lab.wait_for_end(running), lab.wait_for_end(waiting)
    assert (running["status"], waiting["status"]) == ("completed", "completed")
    assert _gap(running, waiting) >= 0
    assert skipped["id"] not in lab.effects()


def test_a_queued_and_a_running_execution_are_cancelled(lab: Lab) -> None:
    deployment = lab.deploy("cancel", gate="a")
    running = lab.run(deployment)
    lab.wait_for(running, "running")
    queued = lab.run(deployment)
    lab.wait_for(queued, "queued")
    lab.call("POST", f"/executions/{queued['id']}/cancel", expect=202)
    queued = lab.wait_for_end(queued)
    assert (queued["status"], queued["reason"], queued["started_at"]) == ("cancelled", "cancelled_by_user", None)
    lab.call("POST", f"/executions/{running['id']}/cancel", expect=202)
    running = lab.wait_for_end(running)
    assert (running["status"], running["signal"]) == ("cancelled", "SIGTERM")
    assert lab.effects() == {running["id"]: 1}
    assert lab.deployment(deployment)["execution_count"] == 1, "only what had started counts"


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_pause_and_stop_empty_the_slot_and_say_that_the_host_knows(lab: Lab, action: str) -> None:
    status = {"pause": "paused", "stop": "stopped"}[action]
    lab.early_in_a_minute()  # no fire of its own before it is paused
    deployment = lab.deploy(action, gate="a", cron_expression="* * * * *")
    running = lab.run(deployment)
    lab.wait_for(running, "running")
    queued = lab.run(deployment)
    lab.wait_for(queued, "queued")
    changed = lab.call("POST", f"/deployments/{deployment['id']}/{action}", json={"reason": "new firmware"})
    assert (changed["status"], changed["host_acknowledged"]) == (status, True)
    queued = lab.wait_for_end(queued)
    assert (queued["status"], queued["reason"]) == ("skipped", status)
    lab.to_next_minute()
    barrier = lab.deploy("barrier", cron_expression="* * * * *", device_id="stb-2")
    lab.to_next_minute()
    lab.wait_for_executions(barrier, 1)
    assert len(lab.executions(deployment)) == 2, "nothing fires while it is not active"
    lab.open("a")
    assert lab.wait_for_end(running)["status"] == "completed", "what ran runs to its end"
    if action == "pause":
        resumed = lab.call("POST", f"/deployments/{deployment['id']}/resume")
        assert resumed["status"] == "active"
        lab.to_next_minute()
        third = lab.wait_for_executions(deployment, 3)[2]
        assert lab.wait_for_end(third)["status"] == "completed"
        assert len(lab.executions(deployment)) == 3, "paused time is not missed"
    else:
        refused = lab.call("POST", f"/deployments/{deployment['id']}/resume", expect=409)
        assert refused["type"] == "/problems/wrong-state"
