"""The invariants as the schedulers check them: under their own role, as metrics and in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from libs.contracts import ExecutionStatus, Reason
from libs.invariants import CHECKS, SCAN, Bounds, CheckName
from libs.ledger.migrate import set_password, upgrade
from libs.stack.postgres import Postgres
from services.scheduler.scan import Outcome, Scanner
from services.scheduler.settings import Settings
from tests.support.broken_ledger import ALSO, BREAKS, Worked
from tests.support.faithful_host import a_faithful_host
from tests.support.ledger import LedgerDatabase
from tests.support.scheduling import Bench
from tests.support.wait import until_async

INVARIANT_OF = {name: invariant for invariant, names in CHECKS.items() for name in names}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"rigbeat_{name}", labels) or 0.0


def violations() -> dict[str, float]:
    """What is not 0, by check."""
    found = {
        name: REGISTRY.get_sample_value(
            "rigbeat_invariant_violations", {"invariant": INVARIANT_OF[name], "check": name}
        )
        for name in CheckName
    }
    assert None not in found.values(), "every check is told, also when it is well"
    return {str(name): rows for name, rows in found.items() if rows}


@asynccontextmanager
async def a_scanner(url: str, *, bounds: Bounds = SCAN, **settings: float) -> AsyncIterator[Scanner]:
    """Its looks are called by hand."""
    scanner = Scanner(url, Settings(database_url="x", amqp_url="x", **settings), bounds=bounds)  # type: ignore[arg-type]
    try:
        yield scanner
    finally:
        await scanner._session.close()


async def test_each_fault_put_in_by_hand_is_found_alone_told_once_and_gone_when_mended(worked: Worked) -> None:
    assert {name for name, *_ in BREAKS} == set(CheckName)
    async with a_scanner(worked.api.database.scheduler_url) as scanner:
        assert await scanner.scan() is Outcome.DONE
        assert violations() == {}
        for name, words, breaks, undoes in BREAKS:
            worked.sql(*breaks)
            with capture_logs() as lines:
                assert await scanner.scan() is Outcome.DONE
                assert await scanner.scan() is Outcome.DONE
            also = ALSO.get(name, set())
            assert set(violations()) == {name} | also, words
            assert [line["check"] for line in lines if line["check"] not in also] == [name], "each is told once"
            [line] = [line for line in lines if line["check"] == name]
            assert (line["log_level"], line["check"], line["invariant"]) == ("warning", name, INVARIANT_OF[name])
            assert line["rows"] == violations()[name]
            assert any(words in example for example in line["examples"]), line
            worked.sql(*undoes)
            with capture_logs() as lines:
                assert await scanner.scan() is Outcome.DONE
            assert violations() == {}, words
            assert {(line["log_level"], line["check"]) for line in lines} == {("info", one) for one in {name} | also}
    assert value("scan_timestamp_seconds") > 0


async def test_one_of_two_looks_and_the_other_takes_over(ledger_database: LedgerDatabase) -> None:
    url = ledger_database.scheduler_url
    async with a_scanner(url) as other:
        async with a_scanner(url) as one:
            assert [await one.scan(), await other.scan(), await one.scan(), await other.scan()] == [
                Outcome.DONE,
                Outcome.ELSEWHERE,
                Outcome.DONE,
                Outcome.ELSEWHERE,
            ]
            # Whoever does not look shows no figure: an old one would stand beside the true one for ever.
            name = CheckName.OVERDUE_FIRES
            labels = {"invariant": "I7", "check": str(name)}
            assert REGISTRY.get_sample_value("rigbeat_invariant_violations", labels) is None
        assert await other.scan() is Outcome.DONE
        assert violations() == {}


async def test_a_stopped_process_does_not_keep_the_others_from_looking(ledger_database: LedgerDatabase) -> None:
    async with a_scanner(ledger_database.scheduler_url, scan_seconds=600) as scanner:
        await scanner.scan()
        connection = await scanner._session.connection()
        assert connection is not None
        bounds = [await connection.fetchval(f"SHOW {name}") for name in ("idle_session_timeout", "statement_timeout")]
        assert bounds == ["21min", "10s"]


async def test_a_check_that_cannot_run_is_tried_again_and_ends_nothing(ledger_database: LedgerDatabase) -> None:
    async with a_scanner(ledger_database.scheduler_url) as scanner:
        ledger_database.execute("REVOKE SELECT ON repeated_endings FROM rigbeat_scheduler")
        with capture_logs() as lines:
            assert await scanner.scan() is Outcome.FAILED
        assert "permission denied for table repeated_endings" in lines[0]["error"]
        async with a_scanner(ledger_database.scheduler_url) as other:
            assert await other.scan() is Outcome.FAILED, "whoever fails lets another one try"
        ledger_database.execute("GRANT SELECT ON repeated_endings TO rigbeat_scheduler")
        assert await scanner.scan() is Outcome.DONE


async def test_it_goes_on_after_a_restart_of_the_database(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "home", log=tmp_path / "postgres.log", durable=False)

    async def another(outcome: Outcome) -> None:
        before = value("scans_total", outcome=outcome)

        async def came() -> bool:
            return value("scans_total", outcome=outcome) > before

        await until_async(came, within=20, what=f"a look that is {outcome}")

    try:
        server.start()
        upgrade(server.superuser_url)
        set_password(server.superuser_url, "rigbeat_scheduler", "only-for-tests")
        place = server.superuser_url.rpartition("@")[2]
        url = f"postgresql://rigbeat_scheduler:only-for-tests@{place}"
        scanner = Scanner(url, Settings(database_url="x", amqp_url="x", scan_seconds=0.1))
        await scanner.start()
        await another(Outcome.DONE)
        server.stop()
        await another(Outcome.FAILED)
        server.start()
        await another(Outcome.DONE)
        assert scanner.ready
        await scanner.stop(5)
        assert scanner.failure is None
    finally:
        server.destroy()


async def test_more_deployments_than_one_look_takes_are_gone_through_in_rounds(bench: Bench) -> None:
    first = bench.deploy("first", "0 0 1 1 *")
    for number in range(449):
        bench.deploy(f"d{number}", "0 0 1 1 *")
    bench.database.execute(
        "INSERT INTO deployment_versions (deployment_id, version, team_id, valid_from, counted_from, cron_expression,"
        " timezone, status, catch_up, catch_up_window_seconds, on_device_busy, max_wait_seconds, timeout_seconds)"
        " SELECT id, 1, team_id, counted_from, counted_from, cron_expression, timezone, status, catch_up,"
        " catch_up_window_seconds, on_device_busy, max_wait_seconds, timeout_seconds FROM deployments"
    )
    bench.database.execute("UPDATE deployments SET next_due_at = NULL, next_fire_at = ledger.now() + interval '1 day'")
    bench.database.execute("UPDATE deployments SET execution_count = 3 WHERE id = %s", (first,))
    wrong = str(CheckName.WRONG_COUNTS)
    smallest = Bounds(deployments=200, fires=SCAN.fires, counted=SCAN.counted)
    async with a_scanner(bench.database.scheduler_url, bounds=smallest) as scanner:
        for _ in range(3):
            assert await scanner.scan() is Outcome.DONE
        assert violations() == {wrong: 1}
        bench.database.execute("UPDATE deployments SET execution_count = 0 WHERE id = %s", (first,))
        for _ in range(2):
            await scanner.scan()
            assert violations() == {wrong: 1}, "the round is not whole"
        await scanner.scan()
        assert violations() == {}


async def test_a_host_that_ends_an_execution_twice_is_told_and_a_repetition_is_not(bench: Bench) -> None:
    database, at = bench.database, bench.one("SELECT date_trunc('minute', ledger.now())")
    assert isinstance(at, datetime)
    deployment = bench.deploy("d")
    database.execute("UPDATE deployments SET counted_from = counted_from - interval '1 second'")
    assert await bench.claimer().claim() == 1
    repeated = str(CheckName.REPEATED_IDS)
    async with a_scanner(database.scheduler_url) as scanner, a_faithful_host(database) as host:

        async def told() -> dict[str, Any]:
            assert await scanner.scan() is Outcome.DONE
            return {name: rows for name, rows in violations().items() if name == repeated}

        [trigger] = await host.take()
        started, ended = host.started(trigger, at), host.finished(trigger, at)
        await host.say(started, ended)
        row = "SELECT status, completed_at, ended_journal_id, ended_sequence FROM deployment_executions WHERE id = %s"
        before = database.execute(row, (trigger.execution_id,))
        assert before == [("completed", ended.completed_at, ended.journal_id, ended.sequence)]
        await host.say(ended, started, ended)
        await host.say(host.started(trigger, at))
        assert await told() == {}, "redelivered, sent again after a restore, late: all boring"

        skipped = host.finished(trigger, at, ExecutionStatus.FAILED).model_copy(update={"reason": Reason.EXIT_CODE})
        other_disk = ended.model_copy(update={"journal_id": UUID(int=0xE)})
        await host.say(skipped, skipped)
        assert await told() == {repeated: 1}
        await host.say(other_disk)
        await host.say(skipped, other_disk, ended)
        assert await told() == {repeated: 2}
        assert database.execute(row, (trigger.execution_id,)) == before, "the first ending stands"
        assert bench.one("SELECT execution_count FROM deployments WHERE id = %s", deployment) == 1
        words = database.execute("SELECT host_name, status, sequence FROM repeated_endings ORDER BY sequence")
        assert words == [("lab-1", "completed", ended.sequence), ("lab-1", "failed", skipped.sequence)]

        database.execute("UPDATE repeated_endings SET at = at - %s", (timedelta(hours=2),))
        assert await told() == {}


async def test_a_presumed_ending_that_its_host_replaces_is_no_second_one(bench: Bench) -> None:
    at = bench.one("SELECT date_trunc('minute', ledger.now())")
    bench.deploy("d")
    assert await bench.claimer().claim() == 1
    async with a_faithful_host(bench.database) as host:
        [trigger] = await host.take()
        bench.database.execute(
            "UPDATE deployment_executions SET status = 'failed', reason = 'host_lost', presumed = true,"
            " success = false, completed_at = ledger.now()"
        )
        await host.say(host.finished(trigger, at))
    assert bench.one("SELECT count(*) FROM repeated_endings") == 0
    assert bench.one("SELECT status FROM deployment_executions") == "completed"
