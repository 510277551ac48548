"""Devices that people and deployments want: busy, locked, waited for, in turn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.e2e.lab import Lab

BUSY = "The device was busy with another deployment"
LOCKED = "The device was locked by a person"


def _started(execution: dict[str, Any]) -> str:
    return str(execution["started_at"])


def test_a_lock_lets_a_run_go_on_refuses_or_keeps_waiting_and_is_given_back(lab: Lab) -> None:
    running = lab.run(lab.deploy("running", gate="a"))
    lab.wait_for(running, "running")
    locked = lab.lock("stb-1", "new firmware")
    assert locked["lock"]["reason"] == "new firmware"
    owner = locked["lock"]["owner"]
    assert lab.execution(running)["status"] == "running"
    skipped = lab.wait_for_end(lab.run(lab.deploy("impatient")))
    assert (skipped["status"], skipped["reason"]) == ("skipped", "device_locked")
    assert skipped["message"] == f"{LOCKED}: {owner}, new firmware"
    waiting = lab.run(lab.deploy("patient", on_device_busy="queue"))
    brief = lab.run(lab.deploy("brief", on_device_busy="queue", max_wait_seconds=1))
    assert lab.wait_for(waiting, "queued")["reason"] == "device_locked"
    given_up = lab.wait_for_end(brief)
    assert (given_up["status"], given_up["reason"]) == ("skipped", "waited_too_long")
    assert given_up["message"] == "It waited longer than it was allowed to wait: 1 s"
    lab.open("a")
    assert lab.wait_for_end(running)["status"] == "completed"
    device = lab.wait_for_device("stb-1", "locked")
    assert (device["pending"], device["execution_id"]) == ([waiting["id"]], None)
    assert lab.execution(waiting)["status"] == "queued"
    assert lab.unlock("stb-1")["lock"] is None
    assert lab.wait_for_end(waiting)["status"] == "completed"
    lab.wait_for_device("stb-1", "free")
    assert lab.effects() == {running["id"]: 1, waiting["id"]: 1}


def test_who_waits_longest_comes_first_whichever_deployment_it_is(lab: Lab) -> None:
    holder = lab.run(lab.deploy("holder", gate="a"))
    lab.wait_for(holder, "running")
    skipped = lab.wait_for_end(lab.run(lab.deploy("impatient")))
    assert (skipped["status"], skipped["reason"]) == ("skipped", "device_busy")
    assert skipped["message"] == f"{BUSY}: holder"
    # Their names and ids are in another order than their runs.
    deployments = [lab.deploy(name, on_device_busy="queue") for name in ("c", "a", "b")]
    waiting = [lab.run(deployment) for deployment in (deployments[2], deployments[0], deployments[1])]
    for one in waiting:
        assert lab.wait_for(one, "queued")["reason"] == "device_busy"
    device = lab.wait_for_device("stb-1", "running", pending=[one["id"] for one in waiting])
    assert device["execution_id"] == holder["id"]
    assert [lab.execution(one)["queue_position"] for one in waiting] == [1, 2, 3]
    lab.open("a")
    ended = [lab.wait_for_end(one) for one in (holder, *waiting)]
    assert [one["status"] for one in ended] == ["completed"] * 4
    assert sorted(ended, key=_started) == ended
    assert all(after["started_at"] >= before["completed_at"] for before, after in pairwise(ended))
