"""Alembic's entry: the connection is given by libs/ledger/migrate.py, there is no URL in a file."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True, version_table="ledger_migrations")
with context.begin_transaction():
    context.run_migrations()
