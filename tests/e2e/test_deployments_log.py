"""The log that people know, as a whole system writes it: what somebody changes shows there, beside what runs."""

from __future__ import annotations

from tests.e2e.lab import Lab
from tests.support.wait import until


def test_what_becomes_of_a_deployment_is_in_the_log_of_its_host(lab: Lab) -> None:
    def lines() -> list[str]:
        return [line[20:] for line in lab.system.deployments_log.read_text().splitlines() if "logged" in line]

    deployment = lab.deploy("logged", max_executions=2)
    place = f"/deployments/{deployment['id']}"
    execution = lab.wait_for_end(lab.run(deployment))
    # The row is there a moment before the deployment has counted it.
    until(lambda: lab.deployment(deployment)["execution_count"] == 1, within=10)
    lab.call("POST", f"{place}/pause", json={"reason": "new firmware"})
    lab.call("POST", f"{place}/resume")
    lab.call("PATCH", place, json={"max_executions": 1})
    lab.call("DELETE", place)
    lab.deployed.remove(deployment["id"])
    until(lambda: any("REMOVED: logged" in line for line in lines()), within=10, what="the last line is there")
    by = f"by {deployment['created_by']}"
    took = f"{execution['duration_seconds']:.1f}s"
    [edited] = [line for line in lines() if "EDITED" in line]
    assert edited.startswith(f"[INFO] 🔄 EDITED: logged | Cron: 0 0 1 1 * | Executions: 1/1 | {by}: ")
    [triggered] = [line for line in lines() if "TRIGGERED" in line]
    assert triggered.startswith("[INFO] ⚡ TRIGGERED: logged | Time: ")
    assert [line for line in lines() if line not in (edited, triggered)] == [
        f"[INFO] ➕ ADDED: logged | Cron: 0 0 1 1 * | Device: stb-1 | Executions: 0/2 | {by}",
        "[INFO] ▶️  EXECUTING: logged | Script: gated.py | Device: stb-1",
        f"[INFO] ✅ COMPLETED: logged | Duration: {took} | Success: True | Executions: 1/2",
        f"[INFO] 🔄 STATUS: logged | paused | {by}: new firmware",
        f"[INFO] 🔄 STATUS: logged | resumed | {by}",
        "[WARN] ⚠️  CONSTRAINT: logged | The limit of executions was reached (1/1)",
        "[INFO] 🔄 STATUS: logged | completed",
        f"[INFO] 🔄 REMOVED: logged | {by}",
    ]
