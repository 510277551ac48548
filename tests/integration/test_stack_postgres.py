"""The stack's PostgreSQL: it starts, keeps what it must, refuses with one sentence, ends with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from libs.stack.errors import StackError
from libs.stack.place import place_of
from libs.stack.postgres import Postgres
from libs.stack.process import start
from libs.stack.program import ENVIRONMENT, ROOTS_HOME, unprivileged_user
from tests.support.processes import is_gone, parent
from tests.support.versions import chosen
from tests.support.wait import until

_GONE_SECONDS = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    """Not started yet."""
    made = chosen().postgres(tmp_path / "home", log=tmp_path / "postgres.log", durable=False)
    try:
        yield made
    finally:
        made.destroy()


def data_of(server: Postgres) -> Path:
    return (server.directory / "data").resolve()


def answer(server: Postgres, statement: str) -> object:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        rows = connection.execute(statement.encode())
        return rows.fetchall() if rows.description else None


def test_the_superuser_needs_the_drawn_password(postgres: Postgres) -> None:
    assert answer(postgres, "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url(user="postgres", password="guess"))
    assert (postgres.directory / "password").stat().st_mode & 0o777 == 0o600


def test_it_listens_on_the_loopback_interface_only(postgres: Postgres) -> None:
    # Of all processes: in a container root may not look into another user's.
    listening = [
        each.laddr
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == postgres.port
    ]
    assert listening == [("127.0.0.1", postgres.port)]
    assert answer(postgres, "SHOW unix_socket_directories") == [("",)]


def test_a_server_that_is_not_durable_says_so_and_a_durable_one_syncs(server: Postgres, tmp_path: Path) -> None:
    server.start()
    assert answer(server, "SHOW fsync") == [("off",)]
    server.stop()
    durable = chosen().postgres(server.directory, log=tmp_path / "durable.log")
    try:
        durable.start()
        assert answer(durable, "SHOW fsync") == [("on",)]
        assert answer(durable, "SHOW synchronous_commit") == [("on",)]
    finally:
        durable.stop()


def test_start_and_stop_may_come_in_any_order_and_the_data_stays(server: Postgres) -> None:
    server.stop()
    first = server.start()
    assert server.start() is first
    url = server.url()
    answer(server, "CREATE TABLE kept AS SELECT 42 AS it")
    server.stop()
    server.stop()
    assert server.pid is None
    server.start()
    assert server.url() == url
    assert answer(server, "SELECT it FROM kept") == [(42,)]


def test_a_killed_parent_leaves_no_process_and_the_next_start_goes_on(server: Postgres, tmp_path: Path) -> None:
    text = """
import sys
from pathlib import Path
from tests.support.versions import versions_of
versions_of(sys.argv[4:]).postgres(Path(sys.argv[1]), log=Path(sys.argv[2]), port=int(sys.argv[3])).start()
"""
    server.start()
    answer(server, "CREATE TABLE kept AS SELECT 42 AS it")
    server.stop()
    told = (server.directory, server.log, str(server.port), *chosen().words())
    with parent(text, *told, log=tmp_path / "parent.log") as starter:
        family = starter.family()
        assert "postgres" in {process.name() for process in family}
        with psycopg.connect(server.url(), autocommit=True) as client:  # an open session does not hold it up
            client.execute("SELECT pg_advisory_lock(1)")
            starter.kill()
            until(lambda: all(map(is_gone, family)), within=_GONE_SECONDS, what=f"{family} gone")
    server.start()
    assert answer(server, "SELECT it FROM kept") == [(42,)]


def test_a_start_right_after_the_kill_waits_for_the_dying_server(server: Postgres, tmp_path: Path) -> None:
    text = """
import sys
from pathlib import Path
from tests.support.versions import versions_of
versions_of(sys.argv[3:]).postgres(Path(sys.argv[1]), log=Path(sys.argv[2])).start()
"""
    told = (server.directory, server.log, *chosen().words())
    with parent(text, *told, log=tmp_path / "parent.log") as starter:
        starter.kill()
        server.start()
    assert answer(server, "SELECT 1") == [(1,)]


def test_a_killed_postmaster_is_started_again_on_its_port(server: Postgres) -> None:
    child = server.start()
    port = server.port
    child.send(signal.SIGKILL)
    until(lambda: server.pid is None, within=_GONE_SECONDS)
    assert server.start() is not child
    assert server.port == port
    assert answer(server, "SELECT 1") == [(1,)]


def test_a_stale_lock_file_that_names_someone_elses_pid_is_no_obstacle(server: Postgres, tmp_path: Path) -> None:
    server.start()
    server.stop()
    # The same user as the server's: PostgreSQL itself would take this process for a running postmaster.
    user = unprivileged_user() if os.geteuid() == 0 else None
    other = start("sleep", ["/bin/sleep", "60"], env=ENVIRONMENT, log=tmp_path / "sleep.log", cwd=Path("/"), user=user)
    try:
        until(lambda: psutil.Process(other.pid).name() == "sleep", within=_GONE_SECONDS)
        (data_of(server) / "postmaster.pid").write_text(f"{other.pid}\n{data_of(server)}\n")
        server.start()
        assert answer(server, "SELECT 1") == [(1,)]
    finally:
        other.kill()


def test_a_second_server_on_the_same_data_is_refused_with_the_pid_of_the_first(server: Postgres) -> None:
    server.start()
    second = chosen().postgres(server.directory, log=server.log, durable=False)
    with pytest.raises(
        StackError, match=rf"pid {server.pid} still runs on .*kill -INT {server.pid}.*another directory"
    ):
        second.start()
    second.stop()
    assert answer(server, "SELECT 1") == [(1,)]


def test_data_of_another_major_version_is_left_alone(server: Postgres) -> None:
    server.start()
    server.stop()
    version = data_of(server) / "PG_VERSION"
    version.write_text("13\n")
    with pytest.raises(StackError, match=r"made by PostgreSQL 13, and this is \d+; .*remove"):
        server.start()
    assert version.exists()


def test_a_taken_port_is_named_with_the_process_that_has_it(server: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = chosen().postgres(server.directory, port=port, log=server.log, durable=False)
        with pytest.raises(
            StackError, match=rf"Port {port} for PostgreSQL is taken by .*pid {os.getpid()}.*another port"
        ):
            other.start()


def test_a_killed_initdb_leaves_nothing_that_looks_done(server: Postgres) -> None:
    draft = place_of(server.directory).with_name("data.draft")
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    server.start()
    assert answer(server, "SELECT 1") == [(1,)]
    assert not draft.exists()


def test_a_server_that_cannot_start_tells_its_last_words(server: Postgres) -> None:
    server.start()
    server.stop()
    (data_of(server) / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(StackError, match=r"ended while it started .*no_such_setting.* see .*postgres\.log"):
        server.start()
    assert server.pid is None


def test_as_root_the_data_lives_apart_under_a_user_of_its_own_and_all_goes_with_the_rest(server: Postgres) -> None:
    server.start()
    data = data_of(server)
    root = os.geteuid() == 0
    assert data.is_relative_to(ROOTS_HOME if root else server.directory)
    assert not root or psutil.Process(server.pid).username() == "rigbeat"
    server.destroy()
    assert not data.exists()
    assert not data.is_relative_to(ROOTS_HOME) or not data.parent.exists()
    assert list(server.directory.iterdir()) == []


def test_a_directory_made_anew_does_not_get_the_data_of_the_removed_one(server: Postgres) -> None:
    server.start()
    answer(server, "CREATE TABLE kept AS SELECT 42 AS it")
    server.stop()
    old = data_of(server)
    shutil.rmtree(server.directory)
    server.start()
    assert answer(server, "SELECT to_regclass('kept') IS NULL") == [(True,)]
    swept = not old.is_relative_to(ROOTS_HOME) or not old.parent.exists()
    assert swept, "a test's server that was killed has no right to stay under /var/lib"
