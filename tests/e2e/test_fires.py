"""From the cron minute to the row: over REST, two schedulers, the broker, the host, a real script, and back."""

from __future__ import annotations

from datetime import datetime

from tests.e2e.lab import Lab
from tests.support.wait import until


def test_a_deployment_fires_at_its_real_minute_and_leaves_one_row(lab: Lab) -> None:
    """The one test that waits for a real minute; all others shift the ledger's clock."""
    deployment = lab.deploy("real-minute", cron_expression="* * * * *", max_executions=1)
    [execution] = lab.wait_for_executions(deployment, 1, within=75)
    ended = lab.wait_for_end(execution)
    assert (ended["status"], ended["kind"], ended["success"], ended["exit_code"]) == ("completed", "cron", True, 0)
    assert ended["scheduled_at"] == deployment["next_fire_at"]
    assert datetime.fromisoformat(ended["scheduled_at"]).second == 0
    assert lab.effects() == {ended["id"]: 1}
    after = until(
        lambda: (now := lab.deployment(deployment))["status"] == "completed" and now, within=10, what="it completed"
    )
    assert after
    assert (after["execution_count"], after["next_fire_at"]) == (1, None)
    assert after["status_reason"] == "The limit of executions was reached"
    assert 0 <= ended["late_seconds"] < 10


def test_the_log_of_a_run_is_there_byte_for_byte(lab: Lab) -> None:
    execution = lab.wait_for_end(lab.run(lab.deploy("log")))
    wanted = b"started on stb-1\nSCRIPT_SUCCESS:true\n"

    def log() -> bytes:
        return lab.system.client.get(f"/api/v1/executions/{execution['id']}/log").content

    until(lambda: log() == wanted, within=10, what="the whole log")
    assert execution["log_bytes"] == len(wanted)


def test_an_edit_of_the_cron_takes_effect_at_once(lab: Lab) -> None:
    lab.early_in_a_minute()  # it fires once: at the minute that the test goes to
    deployment = lab.deploy("edited")
    before = lab.deployment(deployment)["next_fire_at"]
    edited = lab.call("PATCH", f"/deployments/{deployment['id']}", json={"cron_expression": "* * * * *"})
    assert edited["next_fire_at"] < before
    assert edited["version"] == deployment["version"] + 1
    lab.to_next_minute()
    [execution] = lab.wait_for_executions(deployment, 1)
    ended = lab.wait_for_end(execution)
    assert (ended["status"], ended["scheduled_at"]) == ("completed", edited["next_fire_at"])
    assert lab.effects() == {ended["id"]: 1}


def test_a_limit_of_two_with_overlapping_runs_starts_exactly_two(lab: Lab) -> None:
    lab.early_in_a_minute()  # one fire at each minute that the test goes to, and none between
    deployment = lab.deploy("limit", gate="a", cron_expression="* * * * *", max_executions=2)
    lab.to_next_minute()
    [first] = lab.wait_for_executions(deployment, 1)
    lab.wait_for(first, "running")
    lab.to_next_minute()
    second = lab.wait_for_executions(deployment, 2)[1]
    lab.wait_for(second, "queued")
    lab.to_next_minute()
    third = lab.wait_for_executions(deployment, 3)[2]
    assert (third["status"], third["reason"]) == ("skipped", "limit_in_flight")
    lab.open("a")
    assert lab.wait_for_end(first)["status"] == "completed"
    assert lab.wait_for_end(second)["status"] == "completed"
    after = until(
        lambda: (now := lab.deployment(deployment))["status"] == "completed" and now, within=10, what="it completed"
    )
    assert after
    assert after["execution_count"] == 2
    lab.to_next_minute()
    # Only once, also if it is there before the minute that comes now and before the one that the test goes to.
    barrier = lab.deploy("barrier", cron_expression="* * * * *", device_id="stb-2", max_executions=1)
    lab.to_next_minute()
    passed = lab.wait_for_end(lab.wait_for_executions(barrier, 1)[0])
    assert len(lab.executions(deployment)) == 3, "a completed deployment fires no more"
    assert lab.effects() == {first["id"]: 1, second["id"]: 1, passed["id"]: 1}
