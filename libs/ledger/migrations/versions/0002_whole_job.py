"""Held fires (catch-up `all`), artifacts, dead letters that were sent again."""

from libs.ledger.migrate import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0002_whole_job.sql")
