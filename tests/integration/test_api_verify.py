"""`POST /verify` on a real ledger: clean as the scheduler leaves it; each invariant broken by hand is found alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.contracts import DeploymentStatus
from libs.invariants.fires import History, Interval, Misfits, Period, Rows, broken, nominal
from libs.ledger.pool import create_pool
from services.scheduler.claim import Claimer
from tests.support.api import Api, created, problem
from tests.support.ledger import shift_now

CHECKED = ["I1", "I2", "I4", "I5", "I7"]


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

# The invariant, the words, how it is broken, how that is undone.
BREAKS: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = [
    (
        "I1",
        "has no row for its fire at",
        (
            f"CREATE TABLE kept AS SELECT * FROM deployment_executions WHERE id = {MISSED}",
            f"DELETE FROM deployment_executions WHERE id = {MISSED}",
        ),
        ("INSERT INTO deployment_executions SELECT * FROM kept", "DROP TABLE kept"),
    ),
    (
        "I1",
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
        "I1",
        "with an id that is not its fire's",
        (another(kind="'cron'", started="NULL", status="'cancelled'", success="NULL"),),
        (DROP_EXTRA,),
    ),
    (
        "I2",
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
        "I2",
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
        "I2",
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
        "I4",
        "has no time of its end",
        (f"UPDATE deployment_executions SET completed_at = NULL WHERE id = {MISSED}",),
        (f"UPDATE deployment_executions SET completed_at = decided_at WHERE id = {MISSED}",),
    ),
    (
        "I4",
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
        "I5",
        "counts 5 executions, its rows are 1",
        ("UPDATE deployments SET execution_count = 5 WHERE id = {fired}",),
        ("UPDATE deployments SET execution_count = 1 WHERE id = {fired}",),
    ),
    (
        "I5",
        "had 1 attempts, its limit is 0",
        (
            "ALTER TABLE deployments DROP CONSTRAINT deployments_max_executions_check",
            "UPDATE deployments SET max_executions = 0 WHERE id = {limited}",
        ),
        ("UPDATE deployments SET max_executions = 2 WHERE id = {limited}",),
    ),
    (
        "I7",
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
        "I7",
        "and never sent",
        (
            "UPDATE outbox SET published_at = NULL, not_after = ledger.now() - interval '11 minutes'"
            " WHERE type = 'trigger.v1' AND execution_id = " + NEWEST,
        ),
        ("UPDATE outbox SET published_at = ledger.now()",),
    ),
    (
        "I7",
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
        "I7",
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
        "I7",
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
        "I7",
        "is not decided",
        ("UPDATE deployments SET next_due_at = ledger.now() - interval '3 minutes' WHERE id = {limited}",),
        ("UPDATE deployments SET next_due_at = next_fire_at WHERE id = {limited}",),
    ),
    (
        "I7",
        "call rigbeat recover again",
        ("UPDATE epoch SET firing = false, held_at = ledger.now() - interval '16 minutes'",),
        ("UPDATE epoch SET firing = true, held_at = NULL",),
    ),
]


async def test_clean_and_each_invariant_broken_by_hand_is_found_alone(worked: Worked) -> None:
    clean = await worked.verify()
    assert clean["ok"], clean
    assert [(check["invariant"], check["ok"], check["rows"], check["examples"]) for check in clean["checks"]] == [
        (name, True, 0, []) for name in CHECKED
    ]
    assert clean["checks"][0]["note"].startswith("2 deployments since")
    for invariant, words, breaks, undoes in BREAKS:
        worked.sql(*breaks)
        found = await worked.verify()
        broken_ones = [check for check in found["checks"] if not check["ok"]]
        assert [check["invariant"] for check in broken_ones] == [invariant], (words, found)
        assert any(words in example for example in broken_ones[0]["examples"]), (words, found)
        assert broken_ones[0]["rows"] >= 1
        assert found["ok"] is False
        worked.sql(*undoes)
        assert (await worked.verify())["ok"], (words, await worked.verify())


async def test_what_is_in_motion_is_no_fault(worked: Worked) -> None:
    """Two runs of one deployment side by side, for as long as the end of the first may be on its way."""
    worked.sql(
        another(status="'running'", completed="NULL", success="NULL", started="ledger.now() - interval '90 s'"),
        another(
            status="'running'",
            id="ledger.first_id(scheduled_at + interval '1 s')",
            completed="NULL",
            success="NULL",
            started="ledger.now() - interval '20 s'",
        ),
        "UPDATE outbox SET published_at = NULL WHERE type = 'trigger.v1'",
        "UPDATE devices SET status = 'running', execution_id = " + NEWEST,
    )
    assert (await worked.verify())["ok"]


async def test_it_is_an_operators_and_takes_a_period(worked: Worked) -> None:
    admin = await worked.api.of_role("admin")
    problem(await admin.post("/verify", json={}), 403, "forbidden")
    [(month,)] = worked.api.database.execute("SELECT ledger.now() - interval '30 days'")
    assert (await worked.verify(since=month.isoformat()))["ok"]
    too_long = await worked.operator.post("/verify", json={"since": "2020-01-01T00:00:00Z"})
    assert problem(too_long, 422, "invalid-input")["errors"][0]["field"] == "since"


# --- the rule of I1 alone

T = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def interval(valid_from: datetime, status: DeploymentStatus = DeploymentStatus.ACTIVE, **values: Any) -> Interval:
    base: dict[str, Any] = {
        "counted_from": T,
        "cron_expression": "* * * * *",
        "timezone": "UTC",
        "start_date": None,
        "end_date": None,
        "deleted": False,
    }
    return Interval(valid_from=valid_from, status=status, **(base | values))


def history(*intervals: Interval, next_fire_at: datetime | None = None, **values: Any) -> History:
    return History(UUID(int=1), "d", intervals, next_fire_at, **values)


def minutes(*numbers: int) -> frozenset[datetime]:
    return frozenset(T + number * MINUTE for number in numbers)


PERIOD = Period(T - MINUTE, T + 10 * MINUTE)
PAUSED = DeploymentStatus.PAUSED


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (history(interval(T), next_fire_at=T + 3 * MINUTE), minutes(0, 1, 2)),
        (history(interval(T + MINUTE), next_fire_at=T + 4 * MINUTE), minutes(2, 3)),
        (history(interval(T), interval(T + 2 * MINUTE, PAUSED)), minutes(0, 1, 2)),
        (
            history(
                interval(T),
                interval(T + MINUTE + MINUTE / 2, PAUSED),
                interval(T + 3 * MINUTE, counted_from=T + 3 * MINUTE),
                next_fire_at=T + 5 * MINUTE,
            ),
            minutes(0, 1, 3, 4),
        ),
        (history(interval(T, start_date=T + 8 * MINUTE)), minutes(8, 9, 10)),
        (history(interval(T, end_date=T + 2 * MINUTE)), minutes(0, 1)),
        (history(interval(T, deleted=True)), minutes()),
        (
            history(
                interval(T),
                interval(T + 2 * MINUTE, cron_expression="*/5 * * * *"),
                next_fire_at=T + 15 * MINUTE,
            ),
            minutes(0, 1, 2, 5, 10),
        ),
    ],
)
def test_which_fires_a_history_demands(known: History, wanted: frozenset[datetime]) -> None:
    assert nominal(known, PERIOD) == wanted


def test_a_backlog_and_what_only_the_host_knew_are_no_faults() -> None:
    known = history(interval(T), next_fire_at=T + 4 * MINUTE, backlogs=((T, T + 2 * MINUTE),))
    assert broken(known, Rows(minutes(2), told_by_host=minutes(3, 7)), PERIOD) == Misfits()
    assert len(broken(known, Rows(minutes(2)), PERIOD).missing) == 1
