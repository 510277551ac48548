"""The stack's PostgreSQL: it starts, keeps what it must, and ends with whoever started it."""

from __future__ import annotations

import psycopg
import pytest

from libs.stack.postgres import Postgres


def test_the_superuser_needs_the_drawn_password(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url(user="postgres", password="guess"))
