"""The schema's own promises: ids in SQL, partitions, the order of the change feed, the clock, migrations run twice."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from libs.contracts import first_id, manual_id
from libs.ledger.migrate import upgrade
from tests.support.ledger import LedgerDatabase, shift_now

VECTORS = json.loads((Path(__file__).parents[1] / "contract" / "golden" / "ids.json").read_text())
SEARCH = "-c search_path=ledger"
LATEST = max(path.name[:4] for path in (Path(upgrade.__code__.co_filename).parent / "migrations" / "sql").glob("*.sql"))


def test_the_ids_in_sql_are_the_golden_vectors(ledger_database: LedgerDatabase) -> None:
    for vector in VECTORS["fire"]:
        [(made, first)] = ledger_database.execute(
            "SELECT ledger.fire_id(%s::uuid, %s::timestamptz), ledger.first_id(%s::timestamptz)",
            (vector["deployment_id"], vector["scheduled_at"], vector["scheduled_at"]),
        )
        assert made == UUID(vector["id"])
        assert first == first_id(datetime.fromisoformat(vector["scheduled_at"]))


def _partitions(database: LedgerDatabase) -> list[str]:
    return [
        name
        for (name,) in database.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'ledger.deployment_executions'::regclass ORDER BY 1"
        )
    ]


def _execution(database: LedgerDatabase, at: str) -> UUID:
    """A missed row at that nominal time; answers its id."""
    [(deployment, team)] = database.execute("SELECT id, team_id FROM deployments LIMIT 1")
    [(made,)] = database.execute(
        "INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, version, status, host_name,"
        " device_id, script_name, decided_at)"
        " VALUES (ledger.fire_id(%s, %s), %s, %s, %s, 'cron', 1, 'skipped', 'lab-1', 'stb-1', 'x.py', ledger.now())"
        " RETURNING id",
        (deployment, at, deployment, team, at),
    )
    return UUID(str(made))


def _deployment(database: LedgerDatabase) -> UUID:
    team = database.team("a")
    database.host("lab-1", team, ["stb-1"])
    made = manual_id(datetime.fromisoformat("2026-11-23T10:00:00Z"), bytes(10))
    database.execute(
        "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression, counted_from)"
        " VALUES (%s, %s, 'd', 'lab-1', 'stb-1', 'x.py', '* * * * *', ledger.now())",
        (made, team),
    )
    return made


def test_partitions_reach_three_months_ahead_and_move_with_the_clock(ledger_database: LedgerDatabase) -> None:
    before = _partitions(ledger_database)
    assert "deployment_executions_rest" in before
    assert len(before) == 1 + 5  # the rest; last month, this one, three ahead
    assert ledger_database.execute("SELECT ledger.ensure_partitions(ledger.now())") == [(0,)]
    shift_now(ledger_database, 40 * 86_400)
    [(made,)] = ledger_database.execute("SELECT ledger.ensure_partitions(ledger.now())")
    assert made in {1, 2}
    assert len(_partitions(ledger_database)) == len(before) + made


def test_what_lay_in_the_rest_moves_into_its_new_partition(ledger_database: LedgerDatabase) -> None:
    _deployment(ledger_database)
    [(far,)] = ledger_database.execute("SELECT (ledger.now() + interval '200 days')::text")
    made = _execution(ledger_database, far)
    where = "SELECT tableoid::regclass::text FROM deployment_executions WHERE id = %s"
    assert ledger_database.execute(where, (made,)) == [("deployment_executions_rest",)]
    ledger_database.execute("SELECT ledger.ensure_partitions(ledger.now() + interval '210 days')")
    [(partition,)] = ledger_database.execute(where, (made,))
    assert partition.startswith("deployment_executions_2")


def test_partitions_are_not_made_for_ever(ledger_database: LedgerDatabase) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="two years"):
        ledger_database.execute("SELECT ledger.ensure_partitions(ledger.now() + interval '9 years')")


def test_a_fire_has_one_row_whoever_writes_it(ledger_database: LedgerDatabase) -> None:
    _deployment(ledger_database)
    _execution(ledger_database, "2026-11-23T10:00:00Z")
    with pytest.raises(psycopg.errors.UniqueViolation):
        _execution(ledger_database, "2026-11-23T10:00:00Z")


def test_the_feed_never_passes_a_transaction_that_is_still_open(ledger_database: LedgerDatabase) -> None:
    """The row of a slow transaction has the smaller id but commits later: a reader must not go past it."""
    insert = "INSERT INTO change_feed (kind, resource_id) VALUES ('host', %s)"
    feed = "SELECT xid::text, id, resource_id FROM ledger.feed_after(%s::text::xid8, %s, NULL, 100)"
    with psycopg.connect(ledger_database.owner_url, options=SEARCH) as slow:
        slow.execute(insert, ("slow",))
        ledger_database.execute(insert, ("quick",))
        assert ledger_database.execute(feed, ("0", 0)) == []
        slow.commit()
    first = ledger_database.execute(feed, ("0", 0))
    assert [row[2] for row in first] == ["slow", "quick"]
    ledger_database.execute(insert, ("later",))
    assert [row[2] for row in ledger_database.execute(feed, first[-1][:2])] == ["later"]


def test_migrating_again_changes_nothing(ledger_database: LedgerDatabase) -> None:
    before = ledger_database.execute("SELECT * FROM public.ledger_migrations")
    upgrade(ledger_database.owner_url)
    assert ledger_database.execute("SELECT * FROM public.ledger_migrations") == before == [(LATEST,)]


def test_a_test_shifts_the_one_clock(ledger_database: LedgerDatabase) -> None:
    shift_now(ledger_database, 3600)
    [(ahead,)] = ledger_database.execute("SELECT extract(epoch FROM ledger.now() - clock_timestamp())")
    assert 3599 < float(ahead) < 3601
