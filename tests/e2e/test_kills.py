"""`kill -9` in the middle of a run: the run ends once, its row is right, its side effect is there once.

Each test prints what ledger, journal and side-effect file said (`make test TESTS=tests/e2e/test_kills.py ARGS=-s`).
"""

from __future__ import annotations

from typing import Any

from tests.e2e.lab import Lab


def _ends_once(lab: Lab, what: str, execution: dict[str, Any]) -> None:
    ended = lab.wait_for_end(execution, within=60)
    rows = lab.system.sql(
        "SELECT status, success, presumed FROM ledger.deployment_executions WHERE id = %s", ended["id"]
    )
    journal = lab.journal(ended)
    effects = lab.effects()
    print(f"\n{what}: ledger {rows}; journal {journal}; side effects {dict(effects)}")  # noqa: T201
    assert rows == [("completed", True, False)]
    assert journal == [("execution.started.v1", 1), ("execution.finished.v1", 1)]
    assert effects[ended["id"]] == 1


def test_kill_of_the_runner_in_the_middle_of_a_run(lab: Lab) -> None:
    deployment = lab.deploy("runner", gate="a")
    execution = lab.run(deployment)
    lab.wait_for(execution, "running")
    lab.kill("host-runner-lab-1")
    queued = lab.run(deployment)
    lab.wait_for(queued, "queued", within=60)
    assert lab.execution(execution)["status"] == "running", "the script lives on, and the new runner knows it"
    lab.open("a")
    _ends_once(lab, "kill -9 of the runner", execution)
    assert lab.wait_for_end(queued)["status"] == "completed"
    assert lab.effects() == {execution["id"]: 1, queued["id"]: 1}


def test_a_run_that_ends_while_its_runner_is_dead_is_picked_up(lab: Lab) -> None:
    execution = lab.run(lab.deploy("away", gate="a"))
    lab.wait_for(execution, "running")
    with lab.system.held("host-runner-lab-1"):
        lab.open("a")
        lab.system.wait_for_file(lab.system.state_dir / "runs" / execution["id"] / "status")
    _ends_once(lab, "ended while the runner was dead", execution)


def test_kill_of_one_scheduler_in_the_middle_of_a_run(lab: Lab) -> None:
    execution = lab.run(lab.deploy("scheduler", gate="a"))
    lab.wait_for(execution, "running")
    lab.early_in_a_minute()  # it fires once: at the minute that the test goes to
    due = lab.deploy("due", cron_expression="* * * * *", device_id="stb-2")
    with lab.system.held("scheduler-1"):
        lab.to_next_minute()
        [fired] = lab.wait_for_executions(due, 1)
        assert lab.wait_for_end(fired)["status"] == "completed", "the other scheduler fires on"
    lab.open("a")
    _ends_once(lab, "kill -9 of one scheduler", execution)
    assert lab.effects() == {execution["id"]: 1, fired["id"]: 1}


def test_kill_of_the_api_in_the_middle_of_a_run(lab: Lab) -> None:
    execution = lab.run(lab.deploy("api", gate="a"))
    lab.wait_for(execution, "running")
    with lab.system.held("api-1"):
        lab.open("a")
        lab.system.wait_for_file(lab.system.state_dir / "runs" / execution["id"] / "status")
    lab.wait_until_ready()
    _ends_once(lab, "kill -9 of the API", execution)


def test_the_broker_is_restarted_in_the_middle_of_a_run(lab: Lab) -> None:
    deployment = lab.deploy("broker", gate="a")
    execution = lab.run(deployment)
    lab.wait_for(execution, "running")
    lab.kill("rabbitmq")
    queued = lab.run(deployment)
    lab.open("a")
    lab.wait_until_ready()
    _ends_once(lab, "the broker restarted", execution)
    assert lab.wait_for_end(queued, within=60)["status"] == "completed"
    assert lab.effects() == {execution["id"]: 1, queued["id"]: 1}
