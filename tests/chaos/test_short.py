"""A short seeded fault run: processes are killed at random moments under a stream of runs, then everything is checked.

The seed is printed; `make test TESTS=tests/chaos ARGS="--seed 7"` runs that one again.
"""

from __future__ import annotations

import random

from tests.e2e.lab import ENDED_WORDS, Lab
from tests.support.checker import Evidence, broken_at_rest
from tests.support.wait import until, until_after

ROUNDS = 8
VICTIMS = ("host-runner-lab-1", "host-runner-lab-1", "scheduler-1", "scheduler-2", "api-1", "rabbitmq")


def test_random_kills_under_load_break_no_invariant(lab: Lab, seed: int) -> None:
    rng = random.Random(seed)
    print(f"\nseed {seed}")  # noqa: T201
    deployments = [
        lab.deploy(f"every-minute-{device}", seconds=1, cron_expression="* * * * *", device_id=device)
        for device in ("stb-1", "stb-2")
    ] + [lab.deploy("by-hand", seconds=0.5, device_id="stb-1", on_device_busy="queue")]
    triggered = 0
    for number in range(ROUNDS):
        victim = rng.choice(VICTIMS)
        lab.to_next_minute()
        for _ in range(rng.randrange(1, 4)):
            answer = lab.system.client.post(f"/api/v1/deployments/{rng.choice(deployments)['id']}/run")
            triggered += answer.status_code == 202
        until_after(rng.uniform(0, 0.8))
        print(f"round {number}: kill -9 {victim}")  # noqa: T201
        lab.kill(victim)
        lab.wait_until_ready(within=60)
    for deployment in deployments:
        lab.call("POST", f"/deployments/{deployment['id']}/pause")
    ids = [deployment["id"] for deployment in deployments]
    until(
        lambda: (
            all(execution["status"] in ENDED_WORDS for one in deployments for execution in lab.executions(one))
            and not lab.system.sql("SELECT FROM outbox WHERE published_at IS NULL")
            and not lab.system.sql(
                "SELECT FROM deployment_executions WHERE presumed AND deployment_id = ANY (%s::uuid[])", ids
            )
        ),
        within=90,
        what="everything has ended",
    )
    rows = lab.system.sql(
        "SELECT status, coalesce(reason, ''), count(*) FROM deployment_executions"
        " WHERE deployment_id = ANY (%s::uuid[]) GROUP BY 1, 2 ORDER BY 1, 2",
        ids,
    )
    print(f"{triggered} runs by hand accepted; the ledger has {rows}")  # noqa: T201
    evidence = Evidence(
        sql=lab.system.sql,
        superuser_url=lab.system.superuser_url,
        deployments=ids,
        journals={"lab-1": [lab.system.state_dir / "journal.sqlite"]},
        effects=lab.folder / "effects.log",
    )
    assert broken_at_rest(evidence, settle_seconds=10) == []
    assert sum(number for _, _, number in rows) >= triggered + ROUNDS
