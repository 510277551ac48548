"""The last wall, walked: every table, every command and every column, with the real role of the API, in raw SQL.

What may be done is read from the database itself, so that a table, a grant or a function that is new is walked, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.integration.test_ledger_roles import two_teams  # noqa: F401 # a fixture
from tests.support.ledger import LedgerDatabase

DENIED = psycopg.errors.InsufficientPrivilege
OF_NO_TEAM = {"epoch", "feed_forgotten", "liveness", "retention", "retention_next", "retention_runs"}
"""Tables without rows of a team: whether firing is held, when something was last heard, how long things are kept."""

MAY_CALL = {
    *("authenticate", "token_holder", "note_token_use", "enrolment"),  # before there is a team
    *("session_holder", "note_session_use", "login_link", "teams_named"),  # the same, of browsers and people
    "drop_old_sessions",  # what ended a month ago, of whomever
    *("hold_firing", "fire_on"),  # a restore; the route asks for an operator, the function too
    *("set_retention", "ask_for_retention", "retention_plan"),  # the functions ask for an operator
    *("retention_horizons", "files_are_gone"),  # times alone
    "hears",  # whether a host is revoked, alone
    *("now", "current_team", "is_operator", "first_id", "fire_id", "heard_since"),  # read nothing of a team
}
"""What the API's role may call. A function of the owner sees all teams: look at a new one before it comes in here."""


@dataclass(frozen=True)
class Wall:
    """Two teams with a row of everything, and connections as the API's role."""

    database: LedgerDatabase
    connection: psycopg.Connection
    a: UUID
    b: UUID

    def rows(self, table: str) -> list[str]:
        """All of them, of both teams."""
        return sorted(row for (row,) in self.database.execute(f"SELECT t::text FROM {table} t"))

    def granted(self, table: str, command: str) -> bool:
        """Whether the API's role may at all, for the whole table."""
        [(may,)] = self.database.execute(
            "SELECT has_table_privilege('rigbeat_api', 'ledger.' || %s::text, %s)", (table, command)
        )
        return bool(may)

    def columns(self, table: str, command: str) -> list[str]:
        """The columns for which it may."""
        return [
            name
            for (name,) in self.database.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = ('ledger.' || %s::text)::regclass AND attnum > 0 "
                "AND NOT attisdropped AND has_column_privilege('rigbeat_api', attrelid, attnum, %s) ORDER BY attnum",
                (table, command),
            )
        ]

    def does(self, statement: str, parameters: Sequence[object] = (), *, team: UUID | None) -> list[Any]:
        """Rows, or the count of those that were changed; undone."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("SELECT set_config('rigbeat.team_id', %s, true)", (str(team or ""),))
            cursor = self.connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]


@pytest.fixture
def wall(two_teams: tuple[LedgerDatabase, UUID, UUID]) -> Iterator[Wall]:  # noqa: F811
    database, a, b = two_teams
    for name, team in (("a", a), ("b", b)):
        host = f"lab-{name}"
        [(token,)] = database.execute("SELECT id FROM api_tokens WHERE team_id = %s", (team,))
        database.execute(
            "INSERT INTO enrolments (host_name, prefix, hash, expires_at) VALUES (%s, %s, '', ledger.now())",
            (host, name),
        )
        database.execute(
            "INSERT INTO host_credentials (host_name, broker_user, broker_password_hash, token_id, issued_at) "
            "VALUES (%s, %s, 'x', %s, ledger.now())",
            (host, host, token),
        )
        database.execute(
            "INSERT INTO executions_removed (deployment_id, team_id, counted) VALUES (gen_random_uuid(), %s, 1)",
            (team,),
        )
        for table, columns in (("sessions", "role, name, last_used_at"), ("login_links", "role")):
            values = "'viewer', 'a', ledger.now()" if table == "sessions" else "'viewer'"
            database.execute(
                f"INSERT INTO {table} (id, hash, token_id, team_id, created_at, expires_at, {columns}) "
                f"VALUES (gen_random_uuid(), %s, %s, %s, ledger.now(), ledger.now(), {values})",
                (name.encode(), token, team),
            )
    with psycopg.connect(database.api_url, options="-c search_path=ledger", autocommit=True) as connection:
        yield Wall(database, connection, a, b)


def team_tables(wall: Wall) -> Iterator[str]:
    rows = wall.database.execute(
        "SELECT relname FROM pg_class c WHERE relnamespace = 'ledger'::regnamespace "
        "AND relkind IN ('r', 'p', 'v', 'm') "
        "AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) ORDER BY 1"
    )
    for (table,) in rows:
        if table not in OF_NO_TEAM:
            yield table


def test_reading(wall: Wall) -> None:
    walked = 0
    for table in team_tables(wall):
        everything = len(wall.rows(table))
        assert everything >= 2, f"{table} needs a row of each team to be walked"
        columns = wall.columns(table, "SELECT")
        if not columns:
            for team in (wall.a, None):
                with pytest.raises(DENIED):
                    wall.does(f"SELECT count(*) FROM {table}", team=team)
            continue
        count = f"SELECT count({columns[0]}) FROM {table}"
        assert wall.does(count, team=None) == [(0,)], table
        assert wall.does(count, team=UUID(int=7)) == [(0,)], table
        assert [wall.does(count, team=team) for team in (wall.a, wall.b)] == [[(everything / 2,)]] * 2, table
        walked += 1
    assert walked >= 15


def test_changing(wall: Wall) -> None:
    """Each column that may be changed at all: of the own rows, and of no other's, whatever the condition says."""
    walked = 0
    for table in team_tables(wall):
        own, columns = len(wall.rows(table)) // 2, wall.columns(table, "UPDATE")
        everywhere = wall.database.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = ('ledger.' || %s::text)::regclass AND attnum > 0 "
            "AND NOT attisdropped",
            (table,),
        )
        for (column,) in everywhere:
            change = f"UPDATE {table} SET {column} = DEFAULT"
            if column not in columns:
                with pytest.raises((DENIED, psycopg.errors.GeneratedAlways)):
                    wall.does(change, team=wall.a)
                continue
            same = f"UPDATE {table} SET {column} = {column}" if column in wall.columns(table, "SELECT") else change
            assert wall.does(same + " WHERE false", team=wall.a) == [(0,)]
            assert _changed(wall, same, None) == 0, (table, column)
            assert _changed(wall, same, UUID(int=7)) == 0, (table, column)
            assert _changed(wall, same, wall.a) in {own, None}, (table, column)
            walked += 1
    assert walked >= 40


def test_moving_to_another_team(wall: Wall) -> None:
    """A row of one's own cannot be given away, nor made another's, where its team's column may be changed at all."""
    for table in team_tables(wall):
        for column, value in (("team_id", wall.b), ("host_name", "lab-b")):
            if column not in wall.columns(table, "UPDATE"):
                continue
            with pytest.raises(psycopg.Error, match=r"row-level security|duplicate key"):
                wall.does(f"UPDATE {table} SET {column} = %s", (value,), team=wall.a)


def test_adding(wall: Wall) -> None:
    """A copy of a row of the other team, and it would be the other team's."""
    walked = 0
    for table in team_tables(wall):
        [theirs] = [json.loads(row) for row in _as_json(wall, table) if _is_of(row, wall.b, "lab-b")][:1]
        statement = (
            f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{table}, %s)"
        )
        for team in (wall.a, None, UUID(int=7)):
            with pytest.raises(DENIED) as refused:
                wall.does(statement, (json.dumps(theirs),), team=team)
            if wall.granted(table, "INSERT"):
                assert "row-level security" in str(refused.value), (table, str(refused.value))
                walked += 1
    assert walked >= 20


def test_adding_what_is_of_anothers_host(wall: Wall) -> None:
    """The other team's row with one's own team in it: the host is not one's own."""
    walked = 0
    for table in team_tables(wall):
        if not wall.granted(table, "INSERT") or not {"team_id", "host_name"} <= set(wall.columns(table, "INSERT")):
            continue
        [theirs] = [json.loads(row) for row in _as_json(wall, table) if _is_of(row, wall.b, "lab-b")][:1]
        mixed = theirs | {"team_id": str(wall.a), "host_name": "lab-b"} | ({"role": "host"} if "role" in theirs else {})
        with pytest.raises(DENIED, match="row-level security"):
            wall.does(_copying(table), (json.dumps(mixed),), team=wall.a)
        walked += 1
    assert walked >= 4


def test_what_a_team_may_write_for_a_host_that_it_lost(wall: Wall) -> None:
    """Commands that end what it has there, and the rows of what is due in the same moment; never a trigger."""
    [deployment] = [json.loads(row) for row in _as_json(wall, "deployments") if _is_of(row, wall.a, "lab-a")][:1]
    execution, parcel = (
        next(json.loads(row) for row in _as_json(wall, table) if _is_of(row, wall.a, "lab-a")) | {"host_name": "lab-b"}
        for table in ("deployment_executions", "outbox")
    )
    execution |= {"id": str(UUID(int=11))}
    parcel |= {"id": 1_000_001, "message_id": str(UUID(int=12))}
    trigger, command = parcel | {"type": "trigger.v1"}, parcel | {"type": "command.fence.v1"}
    is_let_in = {
        "active": [execution, command],
        "paused": [command],
        "expired": [command],
        "stopped": [command],
    }
    for status, good in is_let_in.items():
        wall.database.execute(
            "UPDATE deployments SET host_name = 'lab-b', status = %s WHERE id = %s", (status, deployment["id"])
        )
        for row, table in ((execution, "deployment_executions"), (trigger, "outbox"), (command, "outbox")):
            if row in good:
                assert wall.does(_copying(table), (json.dumps(row),), team=wall.a) == [(1,)], (status, row["type"])
            else:
                with pytest.raises(DENIED, match="row-level security"):
                    wall.does(_copying(table), (json.dumps(row),), team=wall.a)


def test_taking_away(wall: Wall) -> None:
    for table in team_tables(wall):
        own = len(wall.rows(table)) // 2
        if not wall.granted(table, "DELETE"):
            with pytest.raises(DENIED):
                wall.does(f"DELETE FROM {table}", team=wall.a)
            continue
        assert wall.does(f"DELETE FROM {table}", team=None) == [(0,)], table
        assert wall.does(f"DELETE FROM {table}", team=wall.a) == [(own,)], table


@pytest.mark.parametrize(
    ("hole", "test"),
    [
        ("CREATE POLICY hole ON deployments FOR SELECT TO rigbeat_api USING (true)", test_reading),
        ("CREATE POLICY hole ON audit_log TO rigbeat_api USING (ledger.current_team() IS NULL)", test_reading),
        ("ALTER TABLE artifacts DISABLE ROW LEVEL SECURITY", test_changing),
        ("CREATE POLICY hole ON devices TO rigbeat_api USING (true)", test_changing),
        ("CREATE POLICY hole ON hosts FOR INSERT TO rigbeat_api WITH CHECK (true)", test_adding),
        ("CREATE POLICY hole ON enrolments TO rigbeat_api USING (host_name = 'lab-b')", test_taking_away),
    ],
)
def test_a_hole_is_found(wall: Wall, hole: str, test: Callable[[Wall], None]) -> None:
    wall.database.execute(hole)
    with pytest.raises((AssertionError, pytest.fail.Exception, psycopg.errors.UniqueViolation)):
        test(wall)


def test_the_functions_that_it_may_call_are_those_that_were_looked_at(wall: Wall) -> None:
    rows = wall.database.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace "
        "AND has_function_privilege('rigbeat_api', oid, 'EXECUTE')"
    )
    assert {name for (name,) in rows} == MAY_CALL


def _copying(table: str) -> str:
    return f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{table}, %s)"


def _changed(wall: Wall, statement: str, team: UUID | None) -> int | None:
    """How many rows; None where a value that the statement gives is refused by itself."""
    try:
        [(count,)] = wall.does(statement, team=team)
    except psycopg.errors.NotNullViolation:
        return None
    return int(count)


def _as_json(wall: Wall, table: str) -> list[str]:
    return [json.dumps(row) for (row,) in wall.database.execute(f"SELECT to_jsonb(t) FROM {table} t")]


def _is_of(row: str, team: UUID, host: str) -> bool:
    return str(team) in row or host in row
