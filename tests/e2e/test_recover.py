"""A ledger that was restored from a backup: what its hosts did since comes back, and nothing runs twice."""

from __future__ import annotations

from tests.e2e.lab import Lab
from tests.support.wait import until


def test_what_a_restored_ledger_lost_its_hosts_tell_again(lab: Lab) -> None:
    made = lab.deploy("recovered", max_executions=5)
    ran = lab.wait_for_end(lab.run(made))
    assert ran["status"] == "completed"
    # The backup is from before the run.
    lab.system.sql("DELETE FROM deployment_executions WHERE id = %s", ran["id"])
    lab.system.sql("UPDATE deployments SET execution_count = 0, last_executed_at = NULL WHERE id = %s", made["id"])
    lab.call("GET", f"/executions/{ran['id']}", expect=404)

    state = lab.call("POST", "/recover", json={"wait_seconds": 60})

    def has_ended() -> bool:
        body = {"wait_seconds": 60, "ledger_epoch": state["ledger_epoch"]}
        return bool(lab.call("POST", "/recover", json=body)["firing"])

    until(has_ended, within=30, what="firing goes on")
    ended = lab.call("POST", "/recover", json={"ledger_epoch": state["ledger_epoch"]})
    assert ended["hosts"] == [{"name": "lab-1", "status": "online", "answered": True}]
    # It answered behind its events, so they are here by now.
    again = lab.execution(ran)
    told = ("id", "status", "success", "started_at", "completed_at", "exit_code", "kind", "scheduled_at")
    assert {name: again[name] for name in told} == {name: ran[name] for name in told}
    assert lab.deployment(made)["execution_count"] == 1
    assert lab.effects()[ran["id"]] == 1
    # The host obeys the new epoch: a run that is asked for now is no old trigger to it.
    assert lab.wait_for_end(lab.run(made))["status"] == "completed"
    assert max(lab.effects().values()) == 1
    found = lab.call("POST", "/verify")
    ours = [(check["invariant"], each) for check in found["checks"] for each in check["examples"] if made["id"] in each]
    assert not ours
