"""A ledger on which everything has happened as it should, and each fault that can be put into it by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from libs.invariants import CheckName
from libs.ledger.pool import create_pool
from services.scheduler.claim import Claimer
from tests.support.api import Api, created
from tests.support.ledger import shift_now


@dataclass
class Worked:
    """A deployment that fired ten times: nine missed, the last one ran; one with a limit of 2 that ran once."""

    api: Api
    operator: httpx.AsyncClient
    fired: str
    limited: str

    async def verify(self, **body: object) -> dict[str, Any]:
        answer = await self.operator.post("/verify", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def sql(self, *statements: str) -> None:
        """`{fired}` and `{limited}` stand for the deployments' ids."""
        for statement in statements:
            self.api.database.execute(statement.format(fired=f"'{self.fired}'", limited=f"'{self.limited}'"))


@pytest.fixture
async def worked(api: Api, editor: httpx.AsyncClient) -> Worked:
    fired = await created(editor, cron_expression="* * * * *", name="fired")
    limited = await created(editor, cron_expression="0 0 1 1 *", name="limited", max_executions=2, device_id="stb-2")
    await editor.post(f"/deployments/{limited['id']}/run")
    shift_now(api.database, 600)
    pool = await create_pool(api.database.scheduler_url, application="test", most=2)
    try:
        assert await Claimer(pool, batch=10, wake=asyncio.Event()).claim() == 1
    finally:
        pool.terminate()
    made = Worked(api, await api.of_role("operator"), fired["id"], limited["id"])
    made.sql(
        "UPDATE deployment_executions SET status = 'completed', success = true, received_at = decided_at,"
        " started_at = decided_at + interval '10 ms', completed_at = decided_at + interval '1 s'"
        " WHERE status = 'triggered'",
        "UPDATE deployments SET execution_count = 1, last_executed_at = ledger.now()",
        "UPDATE outbox SET published_at = ledger.now()",
        "UPDATE hosts SET last_seen_at = ledger.now()",
    )
    return made


NEWEST = "(SELECT id FROM deployment_executions WHERE deployment_id = {fired} ORDER BY id DESC LIMIT 1)"
MISSED = (
    "(SELECT id FROM deployment_executions WHERE deployment_id = {fired} AND reason = 'missed' ORDER BY id LIMIT 1)"
)
COPY = (
    "INSERT INTO deployment_executions (id, deployment_id, scheduled_at, status, team_id, kind, version, host_name,"
    " device_id, script_name, decided_at, not_after, received_at, queued_at, started_at, completed_at, success)"
    " SELECT {id}, deployment_id, {at}, {status}, team_id, {kind}, version, host_name, device_id, script_name,"
    " decided_at, decided_at, decided_at, {queued}, {started}, {completed}, {success}"
    f" FROM deployment_executions WHERE id = {NEWEST}"
)


def another(at: str = "scheduled_at", **values: str) -> str:
    """A statement that adds a second manual row beside the newest."""
    given = {
        "id": "ledger.first_id(scheduled_at)",
        "status": "'completed'",
        "kind": "'manual'",
        "queued": "NULL",
        "started": "started_at",
        "completed": "completed_at",
        "success": "true",
    } | values
    made = COPY.replace("{at}", at)
    for name, value in given.items():
        made = made.replace("{" + name + "}", value)
    return made


RAN = " WHERE deployment_id = {fired} AND status = 'completed' AND kind = 'cron'"
EARLIER = "UPDATE deployment_executions SET started_at = started_at - interval '2 minutes'"
LATER = "UPDATE deployment_executions SET started_at = started_at + interval '2 minutes'"
DROP_EXTRA = "DELETE FROM deployment_executions WHERE not_after = decided_at"
COUNT = "UPDATE deployments SET execution_count = execution_count {by} WHERE id = {which}"

# The check, the words, how it is broken, how that is undone.
BREAKS: list[tuple[CheckName, str, tuple[str, ...], tuple[str, ...]]] = [
    (
        CheckName.MISSING_FIRES,
        "has no row for its fire at",
        (
            f"CREATE TABLE kept AS SELECT * FROM deployment_executions WHERE id = {MISSED}",
            f"DELETE FROM deployment_executions WHERE id = {MISSED}",
        ),
        ("INSERT INTO deployment_executions SELECT * FROM kept", "DROP TABLE kept"),
    ),
    (
        CheckName.EXTRA_FIRES,
        "at which it had no fire",
        (
            another(
                "scheduled_at + interval '30 s'",
                id="ledger.fire_id(deployment_id, scheduled_at + interval '30 s')",
                kind="'cron'",
                started="NULL",
                status="'cancelled'",
                success="NULL",
            ),
        ),
        (DROP_EXTRA,),
    ),
    (
        CheckName.MISNAMED_FIRES,
        "with an id that is not its fire's",
        (another(kind="'cron'", started="NULL", status="'cancelled'", success="NULL"),),
        (DROP_EXTRA,),
    ),
    (
        CheckName.OVERLAPPING_RUNS,
        "before the run before it had ended",
        (
            another(started="started_at - interval '3 minutes'"),
            EARLIER + " WHERE not_after = decided_at",
            EARLIER + RAN,
            COUNT.replace("{by}", "+ 1").replace("{which}", "{fired}"),
        ),
        (
            DROP_EXTRA,
            LATER + RAN,
            COUNT.replace("{by}", "- 1").replace("{which}", "{fired}"),
        ),
    ),
    (
        CheckName.TWO_AT_ONCE,
        "has 2 executions running",
        (
            another(status="'running'", completed="NULL", success="NULL", started="started_at - interval '90 s'"),
            another(
                status="'running'",
                id="ledger.first_id(scheduled_at + interval '1 s')",
                completed="NULL",
                success="NULL",
                started="started_at - interval '80 s'",
            ),
        ),
        (DROP_EXTRA,),
    ),
    (
        CheckName.OVERLAPPING_WAITS,
        "while another one waited",
        (
            another(status="'cancelled'", started="NULL", success="NULL", queued="started_at - interval '4 minutes'"),
            another(
                status="'cancelled'",
                started="NULL",
                success="NULL",
                id="ledger.first_id(scheduled_at + interval '1 s')",
                queued="started_at - interval '3 minutes'",
            ),
        ),
        (DROP_EXTRA,),
    ),
    (
        CheckName.CONTRADICTORY_ENDINGS,
        "has no time of its end",
        (f"UPDATE deployment_executions SET completed_at = NULL WHERE id = {MISSED}",),
        (f"UPDATE deployment_executions SET completed_at = decided_at WHERE id = {MISSED}",),
    ),
    (
        CheckName.CONTRADICTORY_ENDINGS,
        "is skipped without a reason",
        (
            f"CREATE TABLE kept AS SELECT {MISSED} AS id",
            "UPDATE deployment_executions SET reason = NULL WHERE id = (SELECT id FROM kept)",
        ),
        (
            "UPDATE deployment_executions SET reason = 'missed' WHERE id = (SELECT id FROM kept)",
            "DROP TABLE kept",
        ),
    ),
    (
        CheckName.WRONG_COUNTS,
        "counts 5 executions, its rows are 1",
        ("UPDATE deployments SET execution_count = 5 WHERE id = {fired}",),
        ("UPDATE deployments SET execution_count = 1 WHERE id = {fired}",),
    ),
    (
        CheckName.OVER_LIMIT,
        "had 1 attempts, its limit is 0",
        (
            "ALTER TABLE deployments DROP CONSTRAINT deployments_max_executions_check",
            "UPDATE deployments SET max_executions = 0 WHERE id = {limited}",
        ),
        ("UPDATE deployments SET max_executions = 2 WHERE id = {limited}",),
    ),
    (
        CheckName.STUCK_EXECUTIONS,
        "is still running",
        (
            "CREATE TABLE kept AS SELECT id, started_at FROM deployment_executions WHERE deployment_id = {limited}",
            "UPDATE deployments SET execution_count = 0 WHERE id = {limited}",
            (
                "UPDATE deployment_executions SET status = 'running', completed_at = NULL, success = NULL,"
                " started_at = started_at - interval '2 hours' WHERE deployment_id = {limited}"
            ),
        ),
        (
            (
                "UPDATE deployment_executions e SET status = 'completed', success = true, started_at = k.started_at,"
                " completed_at = k.started_at + interval '1 s' FROM kept k WHERE k.id = e.id"
            ),
            "UPDATE deployments SET execution_count = 1 WHERE id = {limited}",
            "DROP TABLE kept",
        ),
    ),
    (
        CheckName.UNSENT_MESSAGES,
        "and never sent",
        (
            "UPDATE outbox SET published_at = NULL, not_after = ledger.now() - interval '11 minutes'"
            " WHERE type = 'trigger.v1' AND execution_id = " + NEWEST,
        ),
        ("UPDATE outbox SET published_at = ledger.now()",),
    ),
    (
        CheckName.LOCKS_OF_FINISHED_RUNS,
        "is said to run",
        (
            (
                "UPDATE deployment_executions SET completed_at = started_at + interval '500 ms',"
                " started_at = started_at - interval '5 minutes' WHERE deployment_id = {limited}"
            ),
            (
                "UPDATE devices SET status = 'running', execution_id = (SELECT id FROM deployment_executions"
                " WHERE deployment_id = {limited}) WHERE device_id = 'stb-2'"
            ),
        ),
        ("UPDATE devices SET status = 'free', execution_id = NULL",),
    ),
    (
        CheckName.EXPIRED_LOCKS,
        "by a lock that ran out",
        (
            (
                "UPDATE devices SET status = 'locked', lock_owner = 'bob', lock_since = ledger.now(),"
                " lock_expires_at = ledger.now() - interval '2 minutes' WHERE device_id = 'stb-1'"
            ),
        ),
        ("UPDATE devices SET status = 'free', lock_owner = NULL, lock_expires_at = NULL",),
    ),
    (
        CheckName.HELD_FOR_NOTHING,
        "is held and nothing is before it",
        (
            "UPDATE deployments SET execution_count = 0 WHERE id = {limited}",
            "CREATE TABLE kept AS SELECT * FROM deployment_executions WHERE deployment_id = {limited}",
            (
                "UPDATE deployment_executions SET held = true, status = 'triggered', completed_at = NULL,"
                " success = NULL,"
                " started_at = NULL, not_after = NULL, decided_at = ledger.now() - interval '11 minutes'"
                " WHERE deployment_id = {limited}"
            ),
        ),
        (
            "DELETE FROM deployment_executions WHERE deployment_id = {limited}",
            "INSERT INTO deployment_executions SELECT * FROM kept",
            "UPDATE deployments SET execution_count = 1 WHERE id = {limited}",
            "DROP TABLE kept",
        ),
    ),
    (
        CheckName.OVERDUE_FIRES,
        "is not decided",
        ("UPDATE deployments SET next_due_at = ledger.now() - interval '3 minutes' WHERE id = {limited}",),
        ("UPDATE deployments SET next_due_at = next_fire_at WHERE id = {limited}",),
    ),
    (
        CheckName.FIRING_HELD,
        "call rigbeat recover again",
        ("UPDATE epoch SET firing = false, held_at = ledger.now() - interval '16 minutes'",),
        ("UPDATE epoch SET firing = true, held_at = NULL",),
    ),
    (
        CheckName.LOCKS_OF_FINISHED_RUNS,
        "waiting, which is completed",
        (
            (
                "UPDATE deployment_executions SET completed_at = started_at + interval '500 ms',"
                " started_at = started_at - interval '5 minutes' WHERE deployment_id = {limited}"
            ),
            (
                "UPDATE devices SET pending = ARRAY(SELECT id FROM deployment_executions"
                " WHERE deployment_id = {limited}) WHERE device_id = 'stb-2'"
            ),
        ),
        ("UPDATE devices SET pending = '{{}}'",),
    ),
    (
        CheckName.FACTS_WITHOUT_EXECUTION,
        "lab-1 told of execution",
        (
            (
                "INSERT INTO dead_letters (id, queue, reason, type, host_name, execution_id, body_size) VALUES"
                " (gen_random_uuid(), 'results.persist', 'unknown deployment: lab-1 has no deployment 7',"
                " 'execution.finished.v1', 'lab-1', gen_random_uuid(), 0),"
                " (gen_random_uuid(), 'lab-1.triggers', 'expired', 'trigger.v1', 'lab-1', gen_random_uuid(), 0)"
            ),
        ),
        ("UPDATE dead_letters SET state = 'closed'",),
    ),
    (
        CheckName.FACTS_WITHOUT_EXECUTION,
        "belongs to lab-1, not lab-9",
        (
            (
                "INSERT INTO dead_letters (id, reason, host_name, execution_id, body_size) VALUES (gen_random_uuid(),"
                " 'wrong host: execution 7 belongs to lab-1, not lab-9', 'lab-9', gen_random_uuid(), 0)"
            ),
        ),
        ("UPDATE dead_letters SET state = 'closed'",),
    ),
    (
        CheckName.REPEATED_IDS,
        "was ended again by lab-1, as failed",
        (
            (
                "INSERT INTO repeated_endings (execution_id, journal_id, sequence, team_id, host_name, status)"
                f" SELECT id, gen_random_uuid(), 5, team_id, 'lab-1', 'failed'"
                f" FROM deployment_executions WHERE id = {NEWEST}"
            ),
        ),
        ("UPDATE repeated_endings SET at = at - interval '25 hours'",),
    ),
]

ALSO = {CheckName.TWO_AT_ONCE: {CheckName.OVERLAPPING_RUNS}}
"""What cannot be broken without something else: two that run now have overlapped."""
