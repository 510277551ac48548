"""The ledger: tables, functions, roles and policies."""

from libs.ledger.migrate import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0001_schema.sql")
    run_sql("0001_functions.sql")
    run_sql("0001_roles.sql")
