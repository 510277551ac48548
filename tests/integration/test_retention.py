"""What is kept and how long, on a ledger with a past: what goes, what stays, who may, and that firing never waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from libs.ledger.pool import connect
from services.api.ingest.executions import Changes
from services.api.ingest.fold import fold
from services.api.object_store import open_store
from services.api.retention import metrics
from services.api.retention.files import FilesAwayError, OldFile, OldFiles
from services.api.retention.keeper import Outcome
from tests.support.api import Api, problem
from tests.support.ingest import Word
from tests.support.past import LOG, REPORT, Past
from tests.support.wait import until_async

SEARCH = "-c search_path=ledger"


@pytest.fixture
def past(api: Api, tmp_path: Path) -> Iterator[Past]:
    with psycopg.connect(api.database.owner_url, options=SEARCH, autocommit=True) as connection:
        yield Past(api, tmp_path / "artifacts", connection)


@pytest.fixture
async def operator(api: Api) -> httpx.AsyncClient:
    return await api.of_role("operator")


async def verified(operator: httpx.AsyncClient, since: datetime | None = None) -> dict[str, Any]:
    answer = await operator.post("/verify", json={"since": since.isoformat()} if since else {})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def removed(run: dict[str, Any]) -> dict[str, tuple[int, int | None]]:
    """`(count, bytes)` of each kind of which something went."""
    return {
        one["kind"]: (one["count"], one["bytes"])
        for one in run["removed" if "removed" in run else "items"]
        if one["count"]
    }


async def test_old_things_go_and_young_and_open_ones_stay(past: Past, operator: httpx.AsyncClient) -> None:
    past.months(600)
    d, limited = past.deployment(), past.deployment(status="paused", limit=5)
    old, older, unfinished = past.execution(d, 450), past.execution(d, 500), past.execution(d, 470, "running")
    result = UUID(int=77)
    named = past.execution(d, 490, "failed", script_result_id=result)
    skipped = past.execution(d, 480, "skipped")
    presumed = past.execution(limited, 460, "failed", presumed=True, reason="host_lost")
    long = past.execution(d, 401, completed_at=past.noon(300))
    for age in (399, 100, 2):
        past.execution(d, age)
    middle, young = past.execution(limited, 95), past.execution(limited, 85)
    past.execute(
        "INSERT INTO script_results (id, team_id, execution_id) VALUES (%s, %s, %s)", (result, past.api.team, named)
    )
    for execution in (old, unfinished, long, middle, young):
        await past.files(execution)
    past.version(d, 2, 500)
    past.version(d, 3, 30)
    for age in (500, 401, 399, 1):
        past.audited(age)
    letters = {past.letter(500, "open"), past.letter(10, "closed")}
    past.letter(95, "closed")
    past.letter(95, "requeued")
    tokens = past.ids("api_tokens")
    past.api.database.token(past.api.team, "viewer")
    [spent] = past.ids("api_tokens") - tokens
    past.execute("UPDATE api_tokens SET revoked_at = ledger.now() - interval '450 days' WHERE id = %s", (spent,))
    # Nobody has signed in since, who would have dropped what was made from it.
    for table, more in (("sessions", "name, last_used_at"), ("login_links", "used_at, team_id")):
        values = "'a', ledger.now()" if table == "sessions" else "NULL, NULL"
        past.execute(
            f"INSERT INTO {table} (id, hash, token_id, role, created_at, expires_at, {more}) "
            f"VALUES (gen_random_uuid(), 'x', %s, 'operator', ledger.now(), ledger.now(), {values})",
            (spent,),
        )
    executions = past.ids("deployment_executions")
    assert (await verified(operator))["ok"]

    before = past.state()
    planned = await operator.get("/retention/plan")
    assert planned.status_code == 200, planned.text
    assert past.state() == before, "a dry run changes nothing"
    assert (await operator.post("/retention/run")).status_code == 202
    async with past.keeper() as keeper:
        assert await keeper.look() is Outcome.DONE
        assert await keeper.look() is Outcome.NOT_DUE

    assert executions - past.ids("deployment_executions") == {old, older, named, skipped}
    assert past.left("logs") == past.left("artifacts") == {unfinished, young}
    assert past.ids("artifacts", "execution_id") == {unfinished, young}
    assert past.ids("script_results") == set()
    assert past.ids("audit_log WHERE actor = 'x'", "resource") == {"age/399", "age/1"}
    assert past.ids("dead_letters") == letters
    assert past.ids("api_tokens") == tokens
    assert past.ids(f"deployment_versions WHERE deployment_id = '{d}'", "version") == {2, 3}
    assert presumed in past.ids("deployment_executions"), "it has a place in a limit"
    assert past.execute("SELECT deployment_id, counted FROM executions_removed") == [(d, 3)]

    shown = (await operator.get("/retention")).json()
    [run] = shown["runs"]
    assert (run["asked_by"], run["broke_off"]) == ("operator-token", False)
    assert removed(run) == removed(planned.json())
    assert removed(run) == {
        "executions": (4, None),
        "versions": (1, None),
        "logs": (3, 3 * len(LOG)),
        "artifacts": (3, 3 * len(REPORT)),
        "audit": (2, None),
        "tokens": (1, None),
        "dead_letters": (2, None),
    }
    [line] = (await operator.get("/audit", params={"action": "remove"})).json()["items"]
    assert (line["actor"], line["resource"]) == ("operator-token", f"retention/{run['id']}")
    assert line["detail"]["removed"]["executions"]["count"] == 4
    assert (await verified(operator))["ok"], "the counts are those of what is there and of what was removed"

    got = (await operator.get(f"/executions/{middle}")).json()
    assert (got["log_url"], got["log_removed"], got["artifacts"], got["artifacts_removed"]) == (None, True, [], True)
    told = problem(await operator.get(f"/executions/{middle}/log"), 404, "not-found")
    assert "older than logs are kept" in told["detail"]
    got = (await operator.get(f"/executions/{young}")).json()
    assert (got["log_removed"], len(got["artifacts"])) == (False, 1)
    assert (await operator.get(f"/executions/{young}/log")).content == LOG
    why = (await operator.get(f"/deployments/{d}/why", params={"at": past.noon(450).isoformat()})).json()
    assert why["verdict"] == "forgotten"
    why = (await operator.get(f"/deployments/{d}/why", params={"at": past.noon(2).isoformat()})).json()
    assert why["verdict"] == "ran"


async def test_the_promises_are_checked_for_what_is_kept(past: Past, operator: httpx.AsyncClient) -> None:
    """Every fire of a month has its row; of those that go, none is missed."""
    fires = range(40)
    following = past.noon(-1) if past.noon(0) <= past.now else past.noon(0)
    d = past.deployment(age=40, status="active", next_fire_at=following, next_due_at=following)
    past.execution(d, 0) if past.noon(0) <= past.now else None
    for age in fires[1:]:
        past.execution(d, age)
    since = past.now - timedelta(days=30)
    assert (await verified(operator, since))["ok"]
    assert (await operator.put("/retention/executions", json={"keep_days": 14})).status_code == 200
    past.due()
    async with past.keeper(rows_at_once=1000) as keeper:
        assert await keeper.look() is Outcome.DONE
    assert 14 <= len(past.ids("deployment_executions")) <= 15
    found = await verified(operator, since)
    assert found["ok"], found
    # It looks: what is gone without a policy is told.
    past.execute("DELETE FROM deployment_executions WHERE scheduled_at = %s", (past.noon(5),))
    assert not (await verified(operator, since))["ok"]


async def test_no_policy_goes_below_its_floor_and_nobody_deletes_by_hand(
    past: Past, operator: httpx.AsyncClient
) -> None:
    for kind, least in past.execute("SELECT kind, least_days FROM retention"):
        refused = await operator.put(f"/retention/{kind}", json={"keep_days": least - 1})
        assert refused.status_code == 422, refused.text
    assert (await operator.put("/retention/nonsense", json={"keep_days": 90})).status_code == 404
    past.audited(89)
    past.audited(91)
    past.due()
    with psycopg.connect(past.api.database.api_url, options=SEARCH, autocommit=True) as connection:
        connection.execute("SELECT set_config('rigbeat.operator', 'on', false)")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("SELECT ledger.set_retention('audit', 1, 'x')")
        connection.execute("SELECT ledger.set_retention('audit', 90, 'x')")
        for refused_to in (
            "DELETE FROM audit_log",
            "UPDATE retention SET least_days = 0",
            "SELECT * FROM ledger.remove_audit(1, 0, 1000)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused_to.encode())
    with psycopg.connect(past.api.database.ingest_url, options=SEARCH, autocommit=True) as connection:
        [(run,)] = connection.execute("SELECT run FROM ledger.begin_retention()").fetchall()
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            connection.execute("SELECT * FROM ledger.remove_audit(%s, 0, 1000)", (run + 1,))
        connection.execute("SELECT * FROM ledger.remove_audit(%s, 0, 1000)", (run,))
    assert past.ids("audit_log", "resource") == {"age/89"}


async def test_a_policy_is_set_for_days_or_for_ever_and_audited(past: Past, operator: httpx.AsyncClient) -> None:
    d = past.deployment()
    past.execution(d, 450)
    changed = (await operator.put("/retention/executions", json={"keep_days": None})).json()
    assert (changed["keep_days"], changed["changed_by"]) == (None, "operator-token")
    await operator.put("/retention/executions", json={"keep_days": None})
    lines = (await operator.get("/audit", params={"resource": "retention"})).json()["items"]
    assert [(line["action"], line["detail"]) for line in lines] == [
        ("edit", {"changes": {"keep_days": {"before": 400, "after": None}}})
    ]
    past.due()
    async with past.keeper() as keeper:
        assert await keeper.look() is Outcome.DONE
        assert len(past.ids("deployment_executions")) == 1
        # What was said to be gone stays gone, also by a longer policy.
        for days in (400, 1000):
            await operator.put("/retention/executions", json={"keep_days": days})
            past.due()
            assert await keeper.look() is Outcome.DONE
    [(kept_from,)] = past.execute("SELECT kept_from FROM retention WHERE kind = 'executions'")
    assert timedelta(days=400) <= past.now - kept_from < timedelta(days=401)


async def test_of_two_processes_one_works(past: Past) -> None:
    past.execution(past.deployment(), 450)
    async with past.keeper() as one, past.keeper() as other:
        assert await one.look() is Outcome.NOT_DUE, "the first run of a new ledger is a week away"
        past.due()
        assert await other.look() is Outcome.ELSEWHERE
        assert len(past.ids("deployment_executions")) == 1
        await one.close()
        assert await other.look() is Outcome.DONE
    assert past.ids("deployment_executions") == set()


class Breaking(OldFiles):
    """Removes the files, and then the process ends, or the store is away."""

    def __init__(self, place: Path, error: Exception) -> None:
        super().__init__(open_store(f"file://{place}"))
        self.error = error

    async def remove(self, files: Sequence[OldFile]) -> None:
        await super().remove(files[:1])
        raise self.error


async def test_a_run_that_is_killed_in_the_middle_is_made_up_for(past: Past, operator: httpx.AsyncClient) -> None:
    d = past.deployment()
    for age in (450, 460, 470):
        await past.files(past.execution(d, age))
    past.due()
    async with past.keeper(Breaking(past.place, MemoryError())) as killed:
        with pytest.raises(MemoryError):
            await killed.look()
    assert len(past.left("logs")) == 2
    assert len(past.ids("deployment_executions")) == 3
    async with past.keeper() as following:
        assert await following.look() is Outcome.DONE, "though the next one is not due"
    assert past.left("logs") == past.left("artifacts") == past.ids("deployment_executions") == set()
    assert past.ids("artifacts", "execution_id") == set()
    [(ended,)] = past.execute("SELECT max(ended_at) FROM retention_runs")
    assert metrics.RUN._value.get() == pytest.approx(ended.timestamp())
    assert metrics.KEPT_FROM.labels("logs")._value.get() == past.noon(90).timestamp() - 12 * 3600
    latest, first = (await operator.get("/retention")).json()["runs"]
    assert (first["broke_off"], latest["broke_off"]) == (True, False)
    assert removed(latest)["executions"] == (3, None)


async def test_without_the_store_rows_go_and_files_are_found_again(past: Past, operator: httpx.AsyncClient) -> None:
    await past.files(past.execution(past.deployment(), 450))
    past.due()
    async with past.keeper(Breaking(past.place, FilesAwayError("away"))) as keeper:
        assert await keeper.look() is Outcome.BROKE_OFF
    assert past.ids("deployment_executions") == set()
    [(soon,)] = past.execute("SELECT at - ledger.now() FROM retention_next")
    assert soon <= timedelta(minutes=10)
    await past.files(UUID(int=(int(past.noon(450).timestamp() * 1000) << 80) + 1))  # of no row, as after a restore
    past.due()
    async with past.keeper() as keeper:
        assert await keeper.look() is Outcome.DONE
    assert past.left("logs") == past.left("artifacts") == set()


class Fires(threading.Thread):
    """Writes executions of now again and again, as schedulers do, and waits for a lock at most so long."""

    def __init__(self, past: Past, deployment: UUID) -> None:
        super().__init__()
        self._url = past.api.database.owner_url
        self._deployment = deployment
        self.ended = threading.Event()
        self.written = 0
        self.longest = 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self._url, options=SEARCH, autocommit=True) as connection:
                connection.execute("SET lock_timeout = '250ms'")
                while not self.ended.is_set():
                    began = time.monotonic()
                    connection.execute(
                        "INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, version,"
                        " host_name, device_id, script_name, decided_at, status)"
                        " SELECT ledger.fire_id(id, clock_timestamp()), id, team_id, ledger.now(), 'cron', 1,"
                        " host_name, device_id, script_name, ledger.now(), 'triggered' FROM deployments WHERE id = %s"
                        " ON CONFLICT DO NOTHING",
                        (self._deployment,),
                    )
                    self.longest = max(self.longest, time.monotonic() - began)
                    self.written += 1
        except psycopg.Error as error:
            self.error = error


async def test_firing_goes_on_while_an_old_month_is_in_use(past: Past) -> None:
    past.months(600)
    d, other = past.deployment(), past.deployment()
    for age in range(480, 520):
        past.execution(d, age)
    before = past.partitions()
    fires = Fires(past, other)

    async def has_begun() -> bool:
        return fires.written > 0

    fires.start()
    try:
        await until_async(has_begun, within=10, what="fires are written")
        with past.reader():
            past.due()
            async with past.keeper(rows_at_once=10) as keeper:
                assert await keeper.look() is Outcome.DONE
            assert past.partitions() == before, "whoever reads it keeps a month"
            assert len(past.ids("deployment_executions WHERE status <> 'triggered'")) == 0
        during = fires.written
        past.due()
        async with past.keeper() as keeper:
            assert await keeper.look() is Outcome.DONE
    finally:
        fires.ended.set()
        await asyncio.to_thread(fires.join)
    assert fires.error is None, "a fire waited for longer than a quarter of a second"
    assert during > 50
    gone = before - past.partitions()
    assert len(gone) >= 4
    assert max(gone) < past.noon(400).strftime("%Y%m")
    assert past.execute("SELECT ledger.ensure_partitions(ledger.now())") == [(0,)]


async def test_facts_from_before_what_is_kept_are_dropped_and_counted(past: Past) -> None:
    d = past.deployment()
    still_open = past.execution(d, 460, "running")
    past.execution(d, 450)
    past.due()
    async with past.keeper() as keeper:
        assert await keeper.look() is Outcome.DONE
    gone = UUID(int=(int(past.noon(450).timestamp() * 1000) << 80) + 8)
    young = UUID(int=(int(past.noon(10).timestamp() * 1000) << 80) + 8)
    facts = [Word(execution, d).finished() for execution in (gone, still_open, young)]
    connection = await connect(past.api.database.ingest_url, application="test")
    try:
        async with connection.transaction():
            changes = Changes()
            assert await fold(connection, facts, changes) == {}
    finally:
        await connection.close()
    assert changes.forgotten == 1
    rows = past.execute("SELECT id, status FROM deployment_executions ORDER BY id")
    assert rows == [(still_open, "completed"), (young, "completed")]
