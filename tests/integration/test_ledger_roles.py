"""Least rights: what each role cannot do is tried with the real role, in raw SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.ledger import LedgerDatabase

DENIED = psycopg.errors.InsufficientPrivilege


def run(url: str, statement: str, parameters: Sequence[object] = (), *, team: UUID | None = None) -> list[Any]:
    with psycopg.connect(url, options="-c search_path=ledger") as connection:
        if team is not None:
            connection.execute("SELECT set_config('rigbeat.team_id', %s, true)", (str(team),))
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else [cursor.rowcount]


def is_denied(url: str, statement: str, *, team: UUID | None = None) -> bool:
    try:
        run(url, statement, team=team)
    except DENIED:
        return True
    return False


@pytest.fixture
def two_teams(ledger_database: LedgerDatabase) -> tuple[LedgerDatabase, UUID, UUID]:
    """Teams a and b, each with a host, a device, a script, a deployment with history, an execution, and so on."""
    teams = []
    for name in ("a", "b"):
        team = ledger_database.team(name)
        host = f"lab-{name}"
        ledger_database.host(host, team, ["stb-1"], scripts=["x.py"])
        ledger_database.token(team, "admin")
        ledger_database.execute(
            """
            WITH d AS (
                INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,
                                         counted_from)
                VALUES (gen_random_uuid(), %(team)s, 'd', %(host)s, 'stb-1', 'x.py', '* * * * *', ledger.now())
                RETURNING id
            ), e AS (
                INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, version, host_name,
                                                   device_id, script_name, decided_at)
                SELECT ledger.fire_id(d.id, ledger.now()), d.id, %(team)s, ledger.now(), 'cron', 1, %(host)s, 'stb-1',
                       'x.py', ledger.now() FROM d
            ), o AS (
                INSERT INTO outbox (message_id, team_id, type, exchange, host_name, body)
                VALUES (gen_random_uuid(), %(team)s, 't', 'x', %(host)s, '{}')
            ), f AS (INSERT INTO change_feed (team_id, kind, resource_id) VALUES (%(team)s, 'host', %(host)s)
            ), a AS (INSERT INTO audit_log (team_id, actor, action, resource) VALUES (%(team)s, 'x', 'x', 'x')
            ), r AS (INSERT INTO script_results (id, team_id, execution_id)
                     VALUES (gen_random_uuid(), %(team)s, gen_random_uuid())
            ), l AS (INSERT INTO dead_letters (id, reason, body_size, team_id)
                     VALUES (gen_random_uuid(), 'x', 0, %(team)s)
            ), p AS (INSERT INTO artifacts (execution_id, name, team_id, size, media_type)
                     VALUES (gen_random_uuid(), 'x', %(team)s, 0, 'text/plain')
            ), s AS (INSERT INTO repeated_endings (execution_id, journal_id, sequence, team_id, host_name, status)
                     VALUES (gen_random_uuid(), gen_random_uuid(), 1, %(team)s, %(host)s, 'failed')
            ), g AS (INSERT INTO executions_removed SELECT id, %(team)s, 7 FROM d
            ), b AS (INSERT INTO backlogs (deployment_id, team_id, version, cron_expression, timezone, window_seconds,
                                           from_at, until_at)
                     SELECT d.id, %(team)s, 1, '* * * * *', 'UTC', 60, ledger.now(), ledger.now() FROM d)
            INSERT INTO deployment_versions (deployment_id, version, team_id, valid_from, counted_from, cron_expression,
                timezone, status, catch_up, catch_up_window_seconds, on_device_busy, max_wait_seconds, timeout_seconds)
            SELECT d.id, 1, %(team)s, ledger.now(), ledger.now(), '* * * * *', 'UTC', 'active', 'latest', 600, 'skip',
                   3600, 3600 FROM d
            """,
            {"team": team, "host": host},  # type: ignore[arg-type]
        )
        teams.append(team)
    return ledger_database, teams[0], teams[1]


def test_the_api_writes_nothing_of_another_team(two_teams: tuple[LedgerDatabase, UUID, UUID]) -> None:
    database, a, b = two_teams
    assert run(database.api_url, "UPDATE deployments SET name = 'x' WHERE team_id = %s", (b,), team=a) == [0]
    assert run(database.api_url, "UPDATE deployment_executions SET cancel_requested_at = now()", team=a) == [1]
    assert run(database.api_url, "UPDATE hosts SET revoked_at = now() WHERE name = 'lab-b'", team=a) == [0]
    assert run(database.api_url, "UPDATE devices SET lock_owner = 'x' WHERE host_name = 'lab-b'", team=a) == [0]
    with pytest.raises(DENIED, match="row-level security"):
        run(
            database.api_url,
            "INSERT INTO audit_log (team_id, actor, action, resource) VALUES (%s, 'x', 'x', 'x')",
            (b,),
            team=a,
        )
    with pytest.raises(DENIED, match="row-level security"):
        run(
            database.api_url,
            "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,"
            " counted_from) VALUES (gen_random_uuid(), %s, 'n', 'lab-b', 'stb-1', 'x.py', '* * * * *', now())",
            (a,),
            team=a,
        )
    assert database.execute("SELECT count(*) FROM hosts WHERE revoked_at IS NOT NULL") == [(0,)]


def test_a_shared_host_is_seen_and_used_but_not_changed(two_teams: tuple[LedgerDatabase, UUID, UUID]) -> None:
    database, a, _ = two_teams
    database.execute("UPDATE hosts SET shared_teams = ARRAY[%s::uuid] WHERE name = 'lab-b'", (a,))
    assert run(database.api_url, "SELECT name FROM hosts ORDER BY 1", team=a) == [("lab-a",), ("lab-b",)]
    assert run(database.api_url, "UPDATE hosts SET revoked_at = now() WHERE name = 'lab-b'", team=a) == [0]
    assert run(
        database.api_url,
        "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression,"
        " counted_from) VALUES (gen_random_uuid(), %s, 'n', 'lab-b', 'stb-1', 'x.py', '* * * * *', now())",
        (a,),
        team=a,
    ) == [1]


CANNOT = [
    ("api", "SELECT hash FROM api_tokens"),
    ("api", "UPDATE api_tokens SET role = 'operator'"),
    ("api", "UPDATE deployments SET team_id = team_id"),
    ("api", "UPDATE deployments SET host_name = 'lab-a'"),
    ("api", "UPDATE deployments SET execution_count = 0"),
    ("api", "DELETE FROM deployments"),
    ("api", "UPDATE deployment_executions SET status = 'completed'"),
    ("api", "DELETE FROM deployment_executions"),
    ("api", "UPDATE outbox SET published_at = now()"),
    ("api", "DELETE FROM audit_log"),
    ("api", "UPDATE audit_log SET actor = 'x'"),
    ("api", "SELECT ledger.ensure_partitions(now())"),
    ("api", "SELECT * FROM ledger.feed_after('0', 0, NULL, 1)"),
    ("api", "UPDATE epoch SET ledger_epoch = 9"),
    ("ingest", "SELECT hash FROM api_tokens"),
    ("ingest", "SELECT * FROM ledger.authenticate('x')"),
    ("ingest", "INSERT INTO deployments (id) VALUES (gen_random_uuid())"),
    ("ingest", "UPDATE deployments SET cron_expression = '* * * * *'"),
    ("ingest", "DELETE FROM deployment_executions"),
    ("ingest", "UPDATE outbox SET published_at = now()"),
    ("ingest", "UPDATE hosts SET revoked_at = NULL"),
    ("ingest", "SELECT ledger.ensure_partitions(now())"),
    ("scheduler", "SELECT hash FROM api_tokens"),
    ("scheduler", "SELECT * FROM ledger.authenticate('x')"),
    ("scheduler", "UPDATE hosts SET last_seen_at = now()"),
    ("scheduler", "UPDATE deployments SET cron_expression = '* * * * *'"),
    ("scheduler", "UPDATE deployments SET execution_count = 0, name = 'x'"),
    ("scheduler", "UPDATE deployment_executions SET exit_code = 0"),
    ("scheduler", "DELETE FROM deployment_executions"),
    ("scheduler", "DELETE FROM audit_log"),
    ("scheduler", "SELECT * FROM dead_letters"),
    ("scheduler", "SELECT body FROM dead_letters"),
    ("scheduler", "SELECT lock_reason FROM devices"),
    ("scheduler", "UPDATE devices SET status = 'free'"),
    ("scheduler", "UPDATE deployment_executions SET ended_sequence = 0"),
    ("scheduler", "INSERT INTO repeated_endings (sequence) VALUES (0)"),
    ("api", "UPDATE deployment_executions SET ended_journal_id = NULL"),
    ("api", "DELETE FROM repeated_endings"),
    ("ingest", "UPDATE repeated_endings SET status = 'failed'"),
    ("ingest", "DELETE FROM repeated_endings"),
    ("api", "UPDATE retention SET keep_days = 90"),
    ("api", "UPDATE retention SET kept_from = ledger.now()"),
    ("api", "UPDATE executions_removed SET counted = 0"),
    ("api", "SELECT ledger.set_retention('logs', 30, 'x')"),
    ("api", "SELECT ledger.ask_for_retention('x')"),
    ("api", "SELECT * FROM ledger.retention_plan(1)"),
    ("api", "SELECT * FROM ledger.begin_retention()"),
    ("api", "SELECT * FROM ledger.remove_audit(1, 0, 1)"),
    ("api", "SELECT * FROM ledger.remove_executions(1, NULL, 1)"),
    ("ingest", "UPDATE retention SET kept_from = ledger.now()"),
    ("ingest", "UPDATE retention_next SET at = ledger.now()"),
    ("ingest", "DELETE FROM audit_log"),
    ("ingest", "DELETE FROM artifacts"),
    ("ingest", "SELECT ledger.set_retention('logs', 30, 'x')"),
    ("ingest", "SELECT ledger.count_removed(1, 'audit', 1, 0)"),
    ("scheduler", "SELECT * FROM ledger.begin_retention()"),
    ("scheduler", "SELECT ledger.drop_empty_month()"),
]


def test_what_a_role_cannot_do(two_teams: tuple[LedgerDatabase, UUID, UUID]) -> None:
    database, a, _ = two_teams
    may = [one for one in CANNOT if not is_denied(getattr(database, f"{one[0]}_url"), one[1], team=a)]
    assert may == []


BEYOND = (
    "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT clock_timestamp()'",
    "CREATE TABLE ledger.mine (a integer)",
    "ALTER TABLE ledger.deployments DISABLE ROW LEVEL SECURITY",
    "DROP POLICY all_teams ON ledger.deployments",
    "SET ROLE rigbeat",
    "SELECT * FROM ledger.deployment_executions_rest",
    "INSERT INTO ledger.deployment_executions_rest SELECT * FROM ledger.deployment_executions",
    "TRUNCATE ledger.deployment_executions",
    "CREATE ROLE evil",
)


@pytest.mark.parametrize("role", ["api", "ingest", "scheduler"])
def test_no_role_changes_the_clock_the_walls_or_reaches_a_partition(ledger_database: LedgerDatabase, role: str) -> None:
    url = getattr(ledger_database, f"{role}_url")
    assert [statement for statement in BEYOND if not is_denied(url, statement)] == []


def test_the_roles_are_neither_superusers_nor_exempt(ledger_database: LedgerDatabase) -> None:
    rows = ledger_database.execute(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
        " WHERE rolname IN ('rigbeat_api', 'rigbeat_ingest', 'rigbeat_scheduler')"
    )
    assert len(rows) == 3
    assert all(flags == (False, False, False, False) for _, *rest in rows for flags in [tuple(rest)])


def test_row_level_security_is_forced_on_every_team_table(ledger_database: LedgerDatabase) -> None:
    rows = ledger_database.execute(
        "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class c"
        " WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)"
    )
    walls = dict(rows)
    without = {table for table, forced in walls.items() if not forced}
    assert without == {"epoch", "feed_forgotten", "liveness", "retention", "retention_next", "retention_runs"}, (
        "these hold no team's data"
    )


def test_nobody_has_a_grant_on_a_partition(ledger_database: LedgerDatabase) -> None:
    assert (
        ledger_database.execute(
            "SELECT table_name, grantee FROM information_schema.role_table_grants"
            " WHERE table_name LIKE 'deployment_executions_%%' AND grantee LIKE 'rigbeat_%%'"
        )
        == []
    )
